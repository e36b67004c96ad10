package pipeline

import org.codehaus.groovy.ast.ClassHelper
import org.codehaus.groovy.ast.ClassNode
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.MethodNode
import org.codehaus.groovy.ast.expr.ArgumentListExpression
import org.codehaus.groovy.ast.expr.BinaryExpression
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.expr.DeclarationExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.StaticMethodCallExpression
import org.codehaus.groovy.ast.expr.VariableExpression
import org.codehaus.groovy.ast.stmt.BlockStatement
import org.codehaus.groovy.ast.stmt.CatchStatement
import org.codehaus.groovy.ast.stmt.ExpressionStatement
import org.codehaus.groovy.ast.stmt.ForStatement
import org.codehaus.groovy.ast.stmt.Statement
import org.codehaus.groovy.classgen.GeneratorContext
import org.codehaus.groovy.control.CompilePhase
import org.codehaus.groovy.control.SourceUnit
import org.codehaus.groovy.control.customizers.CompilationCustomizer
import org.codehaus.groovy.syntax.Token
import org.codehaus.groovy.syntax.Types

/**
 * Replaces every variable of pipeline code by its stored copy, before each statement.
 *
 * Jenkins stores the variables of a pipeline whenever a step begins, and goes on from what was stored when the
 * controller restarts. Here a variable that cannot be stored fails the build with its name, and the
 * build goes on with the copy, as after a restart at that very place. Not covered: closures, and where the
 * pipeline stands in its code; those are objects of workflow-cps, which Debian's Groovy does not have.
 */
class Survival extends CompilationCustomizer {
    Survival() {
        super(CompilePhase.CONVERSION)
    }

    @Override
    void call(SourceUnit source, GeneratorContext context, ClassNode script) {
        for (method in script.methods.findAll { it.name != 'main' && it.code && !CpsRules.isPure(it) }) {
            method.code.visit(new Inserter(method, script.nameWithoutPackage.replaceAll(/^(WorkflowScript).*/, '$1')))
        }
    }

    /** What a controller that restarts has of a value. */
    static Object stored(Object value, String name) {
        Build build = Build.running()
        if (value == null || value instanceof Closure || !build) {
            return value
        }
        build.survivors << name
        return copy(value, name)
    }

    static Object copy(Object value, String name) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream()
        try {
            new ObjectOutputStream(bytes).writeObject(value)
        } catch (NotSerializableException error) {
            throw new NotSerializableException(error.message + ' in ' + name)
        }
        return new Disk(new ByteArrayInputStream(bytes.toByteArray())).readObject()
    }
}

/** Finds the harness' own classes too; the stream by itself asks whichever class loader is on the stack. */
class Disk extends ObjectInputStream {
    Disk(InputStream stored) {
        super(stored)
    }

    @Override
    protected Class<?> resolveClass(ObjectStreamClass description) {
        return Class.forName(description.name, false, Survival.classLoader)
    }
}

/** Walks through one method and keeps what is declared at each place. */
class Inserter extends CodeVisitorSupport {
    private final String script
    private final List<Set<String>> scopes = []

    Inserter(MethodNode method, String script) {
        this.script = method.name == 'run' ? script : script + '.' + method.name
        scopes << (method.parameters*.name as Set)
    }

    @Override
    void visitBlockStatement(BlockStatement block) {
        scopes << ([] as Set)
        List<Statement> all = []
        for (statement in block.statements) {
            all.addAll(scopes.flatten().collect { storing(it as String) })
            all << statement
            statement.visit(this)
        }
        scopes.pop()
        block.statements.clear()
        block.statements.addAll(all)
    }

    @Override
    void visitDeclarationExpression(DeclarationExpression declaration) {
        super.visitDeclarationExpression(declaration)
        if (!declaration.multipleAssignmentDeclaration) {
            scopes.last() << declaration.variableExpression.name
        }
    }

    @Override
    void visitForLoop(ForStatement loop) {
        inScope([loop.variable.name]) { super.visitForLoop(loop) }
    }

    @Override
    void visitCatchStatement(CatchStatement statement) {
        inScope([statement.variable.name]) { super.visitCatchStatement(statement) }
    }

    @Override
    void visitClosureExpression(ClosureExpression closure) {
        inScope((closure.parameters ?: [])*.name) { super.visitClosureExpression(closure) }
    }

    private void inScope(List<String> names, Closure body) {
        scopes << (names as Set)
        body()
        scopes.pop()
    }

    private Statement storing(String name) {
        Expression call = new StaticMethodCallExpression(ClassHelper.make(Survival), 'stored',
            new ArgumentListExpression(new VariableExpression(name), new ConstantExpression(script + ': ' + name)))
        return new ExpressionStatement(
            new BinaryExpression(new VariableExpression(name), Token.newSymbol(Types.ASSIGN, -1, -1), call))
    }
}
