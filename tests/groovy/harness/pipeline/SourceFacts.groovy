package pipeline

import org.codehaus.groovy.ast.ClassNode
import org.codehaus.groovy.ast.CodeVisitorSupport
import org.codehaus.groovy.ast.MethodNode
import org.codehaus.groovy.ast.expr.BinaryExpression
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.GStringExpression
import org.codehaus.groovy.ast.expr.MapEntryExpression
import org.codehaus.groovy.ast.expr.MapExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
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
        ClassNode script = unit.firstClassNode
        List<String> lines = file.readLines()
        List<Map> methods = script.methods.findAll { !(it.name in ['main', 'run']) }.collect { describe(it, lines) }
        MethodNode body = script.methods.find { it.name == 'run' }
        Collector loose = new Collector(lines)
        int statements = 0
        body?.code?.statements?.each { statement ->
            boolean empty = statement instanceof ReturnStatement && statement.expression instanceof ConstantExpression
            statements += empty ? 0 : 1
            statement.visit(loose)
        }
        return [
            methods: methods,
            fields: script.fields.collect { it.name },
            loose: statements,
            shells: methods.collectMany { it.shells } + loose.shells,
        ]
    }

    private static Map describe(MethodNode method, List<String> lines) {
        Collector found = new Collector(lines)
        method.code.visit(found)
        return [
            name: method.name,
            nonCps: method.annotations.any { it.classNode.name.endsWith('NonCPS') },
            calls: found.calls,
            closuresTo: found.closuresTo,
            matchers: found.matchers,
            interpolated: found.interpolated,
            shells: found.shells,
        ]
    }
}

/** Walks through one body. */
class Collector extends CodeVisitorSupport {
    final List<String> calls = []
    final List<String> closuresTo = []
    final List<String> interpolated = []
    final List<Map> shells = []
    int matchers = 0
    private final List<String> lines

    Collector(List<String> lines) {
        this.lines = lines
    }

    @Override
    void visitMethodCallExpression(MethodCallExpression call) {
        String name = call.methodAsString
        List<Expression> arguments = call.arguments instanceof TupleExpression ? call.arguments.expressions : [call.arguments]
        if (call.implicitThis) {
            calls << name
        }
        if (arguments.any { it instanceof ClosureExpression }) {
            closuresTo << name
        }
        if (call.implicitThis && name == 'sh') {
            shells.addAll(arguments.collect { scriptOf(it) }.findAll())
        }
        super.visitMethodCallExpression(call)
    }

    @Override
    void visitBinaryExpression(BinaryExpression expression) {
        matchers += expression.operation.text == '=~' ? 1 : 0
        super.visitBinaryExpression(expression)
    }

    @Override
    void visitGStringExpression(GStringExpression expression) {
        interpolated << expression.text
        super.visitGStringExpression(expression)
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
