package pipeline

import org.codehaus.groovy.ast.ClassNode
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.MethodNode
import org.codehaus.groovy.ast.Parameter
import org.codehaus.groovy.ast.expr.ArgumentListExpression
import org.codehaus.groovy.ast.expr.BinaryExpression
import org.codehaus.groovy.ast.expr.CastExpression
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.ConstructorCallExpression
import org.codehaus.groovy.ast.expr.DeclarationExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.GStringExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.expr.MethodPointerExpression
import org.codehaus.groovy.ast.expr.PropertyExpression
import org.codehaus.groovy.ast.expr.TupleExpression
import org.codehaus.groovy.ast.expr.VariableExpression
import org.codehaus.groovy.ast.stmt.CatchStatement
import org.codehaus.groovy.ast.stmt.ForStatement
import org.codehaus.groovy.ast.stmt.ReturnStatement
import org.codehaus.groovy.ast.stmt.SynchronizedStatement

/**
 * What Jenkins' Groovy does not run as it is written, or cannot save when the controller restarts.
 *
 * Pipeline code is transformed so that every step can be interrupted and its variables be stored; a method
 * with @NonCPS is not, and neither are those of Groovy and Java. So a closure handed to each() must not
 * reach a step, a step must not be called from @NonCPS, and a variable of pipeline code has to be
 * serializable. See "Pipeline CPS Method Mismatches" and "Pipeline Best Practices" on jenkins.io.
 */
class CpsRules extends CodeVisitorSupport {
    /** Steps with a body of their own; jenkinsReleaseOutcome is pipeline code that calls it. */
    private static final Set<String> BODIES = [
        'withEnv', 'withCredentials', 'dir', 'lock', 'node', 'timeout', 'retry', 'catchError', 'warnError', 'jenkinsReleaseOutcome',
    ] as Set
    /** Sections and directives of a declarative pipeline: Jenkins takes them apart, nothing is kept. */
    private static final Set<String> SECTIONS = [
        'pipeline', 'agent', 'options', 'parameters', 'stages', 'stage', 'steps', 'script', 'when', 'expression',
        'environment', 'input', 'post', 'always', 'success', 'failure', 'aborted', 'unstable', 'unsuccessful', 'cleanup',
    ] as Set
    private static final Set<String> UNSAVED = [
        'Matcher', 'Iterator', 'ListIterator', 'Entry', 'Map.Entry', 'JsonSlurper', 'LazyMap', 'InputStream', 'OutputStream',
        'Reader', 'BufferedReader', 'Writer', 'Process', 'Thread', 'Stream', 'Optional', 'XmlSlurper', 'GPathResult', 'Node',
    ] as Set
    private static final Set<String> UNSAVED_CALLS = [
        'iterator', 'listIterator', 'entrySet', 'matcher', 'stream', 'newReader', 'newInputStream', 'execute',
    ] as Set
    /** Variables that withCredentials binds here, and names that others would give to such a one. */
    private static final String SECRET = /(?i).*(PASSWORD|PASSPHRASE|SECRET|TOKEN|ACCESS_KEY|KEY_FILE).*/
    final List<Map> findings = []
    private final MethodNode method
    private final boolean pure
    private final Set<String> pureNames
    private final Set<String> declared = [] as Set
    private final Set<String> entries = [] as Set
    private final List<Expression> bodies = []
    /** Assignments in the section environment are the variables of a stage. */
    private boolean inEnvironment = false

    private CpsRules(MethodNode method, Set<String> pureNames) {
        this.method = method
        this.pureNames = pureNames
        pure = method.name in pureNames
        declared.addAll(method.parameters*.name)
    }

    /** Every finding in a script: rule, line, and what stands there. */
    static List<Map> findings(ClassNode script, List<ClassNode> all) {
        List<Map> found = []
        script.fields.each { found << [rule: 'state', line: it.lineNumber, what: 'field ' + it.name] }
        (all - script).each { found << [rule: 'class', line: it.lineNumber, what: it.nameWithoutPackage] }
        for (node in script.module.imports.findAll { it.className == 'groovy.util.XmlSlurper' }) {
            found << [rule: 'unsaved', line: node.lineNumber, what: node.className]
        }
        Set<String> pureNames = script.methods.findAll { isPure(it) }*.name as Set
        for (method in script.methods.findAll { it.name != 'main' && it.code }) {
            CpsRules rules = new CpsRules(method, pureNames)
            rules.signature()
            method.code.visit(rules)
            found.addAll(rules.findings)
        }
        return found
    }

    static boolean isPure(MethodNode method) {
        return method.annotations.any { it.classNode.nameWithoutPackage == 'NonCPS' }
    }

    private void signature() {
        method.parameters.each { type(it.type, method.lineNumber) }
        // What a pure function returns is a value of pipeline code.
        if (method.returnType.nameWithoutPackage in UNSAVED) {
            report('unsaved', method.lineNumber, method.returnType.nameWithoutPackage)
        }
    }

    private void report(String rule, int line, String what) {
        findings << [rule: rule, line: line, what: what]
    }

    private void type(ClassNode type, int line) {
        if (!pure && type.nameWithoutPackage in UNSAVED) {
            report('unsaved', line, type.nameWithoutPackage)
        }
    }

    @Override
    void visitMethodCallExpression(MethodCallExpression call) {
        String name = call.methodAsString
        boolean own = call.implicitThis || call.objectExpression.text in ['this', 'steps', 'script']
        List<Expression> arguments = call.arguments instanceof TupleExpression ? call.arguments.expressions : [call.arguments]
        if (pure && own && !(name in pureNames)) {
            report('pure', call.lineNumber, name)
        }
        if (!pure && !own && name in UNSAVED_CALLS) {
            report('unsaved', call.lineNumber, name + '()')
        }
        if (call.implicitThis && name in BODIES + SECTIONS) {
            bodies.addAll(arguments.findAll { it instanceof ClosureExpression })
        }
        if (call.spreadSafe) {
            report('spread', call.lineNumber, '*.' + name)
        }
        if (call.implicitThis && name == 'password') {
            report('secret', call.lineNumber, 'a parameter with a password')
        }
        boolean before = inEnvironment
        inEnvironment = before || call.implicitThis && name == 'environment'
        super.visitMethodCallExpression(call)
        inEnvironment = before
    }

    @Override
    void visitClosureExpression(ClosureExpression closure) {
        if (!bodies.any { it.is(closure) }) {
            report('closure', closure.lineNumber, 'is no body of a step')
        }
        declared.addAll((closure.parameters ?: [] as Parameter[])*.name)
        super.visitClosureExpression(closure)
    }

    @Override
    void visitMethodPointerExpression(MethodPointerExpression pointer) {
        report('closure', pointer.lineNumber, pointer.text)
        super.visitMethodPointerExpression(pointer)
    }

    @Override
    void visitConstructorCallExpression(ConstructorCallExpression call) {
        if (!pure && call.type.nameWithoutPackage in UNSAVED) {
            report('unsaved', call.lineNumber, 'new ' + call.type.nameWithoutPackage)
        }
        super.visitConstructorCallExpression(call)
    }

    /** A pure function may use what cannot be stored, and must not hand on what that returns as it is. */
    @Override
    void visitReturnStatement(ReturnStatement statement) {
        Expression found = statement.expression
        while (found instanceof CastExpression || found instanceof MethodCallExpression) {
            found = found instanceof CastExpression ? found.expression : found.objectExpression
        }
        if (pure && found instanceof ConstructorCallExpression && found.type.nameWithoutPackage in UNSAVED) {
            report('unsaved', statement.lineNumber, 'what ' + found.type.nameWithoutPackage + ' makes')
        }
        super.visitReturnStatement(statement)
    }

    @Override
    void visitDeclarationExpression(DeclarationExpression declaration) {
        List<Expression> names = declaration.multipleAssignmentDeclaration ? declaration.tupleExpression.expressions : [declaration.variableExpression]
        names.each {
            declared << it.name
            type(it.type, declaration.lineNumber)
        }
        super.visitDeclarationExpression(declaration)
    }

    @Override
    void visitBinaryExpression(BinaryExpression expression) {
        String operation = expression.operation.text
        if (operation == '=~') {
            report('unsaved', expression.lineNumber, 'a Matcher')
        }
        if (!(expression instanceof DeclarationExpression) && operation.endsWith('=') && !(operation in ['==', '!=', '<=', '>=', '==='])) {
            Expression target = expression.leftExpression
            if (target instanceof VariableExpression && !(target.name in declared) && !inEnvironment) {
                report('state', expression.lineNumber, target.name + ' is a variable of the script')
            }
        }
        super.visitBinaryExpression(expression)
    }

    @Override
    void visitForLoop(ForStatement loop) {
        if (!loop.variable.is(ForStatement.FOR_LOOP_DUMMY)) {
            declared << loop.variable.name
            entries << loop.variable.name
            type(loop.variable.type, loop.lineNumber)
        }
        super.visitForLoop(loop)
    }

    @Override
    void visitCatchStatement(CatchStatement statement) {
        declared << statement.variable.name
        super.visitCatchStatement(statement)
    }

    @Override
    void visitPropertyExpression(PropertyExpression property) {
        String receiver = property.objectExpression.text
        String name = property.propertyAsString
        if (!pure && receiver in entries && name in ['key', 'value']) {
            report('unsaved', property.lineNumber, 'Map.Entry ' + receiver)
        }
        if (receiver == 'env' && name ==~ SECRET) {
            report('secret', property.lineNumber, 'env.' + name)
        }
        if (property.spreadSafe) {
            report('spread', property.lineNumber, '*.' + name)
        }
        super.visitPropertyExpression(property)
    }

    @Override
    void visitVariableExpression(VariableExpression variable) {
        if (!(variable.name in declared) && variable.name ==~ SECRET && variable.name == variable.name.toUpperCase()) {
            report('secret', variable.lineNumber, variable.name)
        }
        super.visitVariableExpression(variable)
    }

    @Override
    void visitGStringExpression(GStringExpression expression) {
        report('interpolated', expression.lineNumber, expression.text)
        super.visitGStringExpression(expression)
    }

    @Override
    void visitSynchronizedStatement(SynchronizedStatement statement) {
        report('synchronized', statement.lineNumber, statement.text)
        super.visitSynchronizedStatement(statement)
    }
}
