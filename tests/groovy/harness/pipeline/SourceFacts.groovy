package pipeline

import org.codehaus.groovy.ast.ClassNode
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.MethodNode
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.ListExpression
import org.codehaus.groovy.ast.expr.MapEntryExpression
import org.codehaus.groovy.ast.expr.MapExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.expr.PropertyExpression
import org.codehaus.groovy.ast.expr.TupleExpression
import org.codehaus.groovy.ast.stmt.ReturnStatement
import org.codehaus.groovy.control.CompilationUnit
import org.codehaus.groovy.control.Phases

/** What the tests want to know of a script's source, read from its syntax tree. */
class SourceFacts {
    static Map of(File file) {
        CompilationUnit unit = new CompilationUnit()
        unit.addSource(file)
        unit.compile(Phases.CONVERSION)
        List<ClassNode> all = unit.AST.classes
        ClassNode script = all.find { it.script }
        MethodNode body = script.methods.find { it.name == 'run' }
        int loose = (body?.code?.statements ?: []).count { statement ->
            !(statement instanceof ReturnStatement && statement.expression instanceof ConstantExpression)
        }
        Collector found = new Collector(file.readLines())
        script.methods.findAll { it.code }.each { it.code.visit(found) }
        return [
            loose: loose,
            findings: CpsRules.findings(script, all),
            shells: found.shells,
            pipelines: found.pipelines,
            parameters: found.parameters,
            reads: found.reads,
            methods: script.methods.findAll { !(it.name in ['main', 'run']) && !it.private }*.name,
            signature: script.methods.find { it.name == 'call' }?.parameters*.name,
        ]
    }
}

/** Walks through all bodies of a script. */
class Collector extends CodeVisitorSupport {
    final List<Map> shells = []
    /** Parameters that a declarative pipeline declares, in their order. */
    final List<Map> parameters = []
    /** Properties read, by what they are read of. */
    final Map<String, Set<String>> reads = [:]
    int pipelines = 0
    private final List<String> lines

    Collector(List<String> lines) {
        this.lines = lines
    }

    @Override
    void visitMethodCallExpression(MethodCallExpression call) {
        if (call.implicitThis && call.methodAsString == 'sh') {
            shells.addAll(arguments(call).collect { scriptOf(it) }.findAll())
        }
        if (call.implicitThis && call.methodAsString == 'pipeline') {
            pipelines++
            MethodCallExpression declared = callsIn(call).find { it.methodAsString == 'parameters' }
            parameters.addAll(declared ? callsIn(declared).collect { parameterOf(it) } : [])
        }
        super.visitMethodCallExpression(call)
    }

    @Override
    void visitPropertyExpression(PropertyExpression property) {
        reads.computeIfAbsent(property.objectExpression.text) { [] as Set } << property.propertyAsString
        super.visitPropertyExpression(property)
    }

    private static List<Expression> arguments(MethodCallExpression call) {
        return call.arguments instanceof TupleExpression ? call.arguments.expressions : [call.arguments]
    }

    /** The calls that are the statements of a call's closure. */
    private static List<MethodCallExpression> callsIn(MethodCallExpression call) {
        ClosureExpression body = arguments(call).find { it instanceof ClosureExpression }
        return body.code.statements*.expression.findAll { it instanceof MethodCallExpression }
    }

    private static Map parameterOf(MethodCallExpression call) {
        Map values = arguments(call)[0].mapEntryExpressions.collectEntries { entry ->
            Expression value = entry.valueExpression
            [entry.keyExpression.text, value instanceof ListExpression ? value.expressions*.text : value.text]
        }
        return [kind: call.methodAsString] + values
    }

    private Map scriptOf(Expression argument) {
        Expression script = argument
        if (argument instanceof MapExpression) {
            MapEntryExpression entry = argument.mapEntryExpressions.find { it.keyExpression.text == 'script' }
            script = entry?.valueExpression
        }
        if (script == null) {
            return null
        }
        return [
            constant: script instanceof ConstantExpression,
            quote: lines[script.lineNumber - 1].substring(script.columnNumber - 1, script.columnNumber),
            text: script instanceof ConstantExpression ? script.value : script.text,
        ]
    }
}
