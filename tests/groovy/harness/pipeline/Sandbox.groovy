package pipeline

import java.lang.reflect.Method
import java.lang.reflect.Modifier
import org.codehaus.groovy.ast.ClassHelper
import org.codehaus.groovy.ast.ClassCodeExpressionTransformer
import org.codehaus.groovy.ast.ClassNode
import org.codehaus.groovy.ast.expr.ArgumentListExpression
import org.codehaus.groovy.ast.expr.ArrayExpression
import org.codehaus.groovy.ast.expr.BinaryExpression
import org.codehaus.groovy.ast.expr.CastExpression
import org.codehaus.groovy.ast.expr.ClassExpression
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.expr.ConstructorCallExpression
import org.codehaus.groovy.ast.expr.DeclarationExpression
import org.codehaus.groovy.ast.expr.Expression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.expr.PropertyExpression
import org.codehaus.groovy.ast.expr.StaticMethodCallExpression
import org.codehaus.groovy.ast.expr.TupleExpression
import org.codehaus.groovy.classgen.GeneratorContext
import org.codehaus.groovy.classgen.VariableScopeVisitor
import org.codehaus.groovy.control.CompilePhase
import org.codehaus.groovy.control.SourceUnit
import org.codehaus.groovy.control.customizers.CompilationCustomizer
import org.codehaus.groovy.runtime.DefaultGroovyMethods
import org.codehaus.groovy.runtime.InvokerHelper
import org.codehaus.groovy.runtime.ProcessGroovyMethods
import org.codehaus.groovy.runtime.StringGroovyMethods
import org.codehaus.groovy.syntax.Types

/** What script-security throws. */
class RejectedAccessException extends SecurityException {
    RejectedAccessException(String signature) {
        super('Scripts not permitted to use ' + signature)
    }
}

/**
 * The script sandbox, in which Jenkins runs Jenkinsfiles and the libraries of folders.
 *
 * Every call on an object that is not the pipeline's own, every constructor and every static member has to be on
 * the list of the plugin script-security; sandbox-whitelist.txt has the lines of it that are needed here. Calls of
 * the script itself (its methods, steps, global variables) are the pipeline's own.
 */
class Sandbox extends CompilationCustomizer {
    private static final Set<String> LIST = Sandbox.classLoader.getResource('sandbox-whitelist.txt').readLines('UTF-8')
        .findAll { it && !it.startsWith('#') } as Set
    /** Where methods that Groovy adds to Java's classes are looked for, in this order. */
    private static final List<Class> GROOVY = [DefaultGroovyMethods, StringGroovyMethods, ProcessGroovyMethods]
    /** Types that the sandbox casts to without a constructor or a conversion that would have to be allowed. */
    private static final Set<String> CASTS = ['java.lang.String', 'int', 'boolean', 'java.util.List', 'java.util.Map'] as Set
    private final Closure<Boolean> applies

    Sandbox(Closure<Boolean> applies) {
        super(CompilePhase.CANONICALIZATION)
        this.applies = applies
    }

    @Override
    void call(SourceUnit source, GeneratorContext context, ClassNode type) {
        if (applies(source.name)) {
            new Checked(source).visitClass(type)
            new VariableScopeVisitor(source).visitClass(type)
        }
    }

    static Object call(Object receiver, String name, Object[] arguments) {
        if (receiver instanceof Class) {
            return callStatic(receiver, name, arguments)
        }
        // Arithmetic is no method of Java, and every script may do it.
        boolean arithmetic = receiver instanceof Number && name in Checked.OPERATORS.values()
        if (receiver != null && !own(receiver) && !arithmetic) {
            require(signatures(receiver, name, arguments), receiver.getClass().name + ' ' + name)
        }
        return InvokerHelper.invokeMethod(receiver, name, arguments)
    }

    /** As object?.name(): nothing is called on null, though the arguments were evaluated. */
    static Object callSafely(Object receiver, String name, Object[] arguments) {
        return receiver == null ? null : call(receiver, name, arguments)
    }

    static Object readSafely(Object receiver, String name) {
        return receiver == null ? null : read(receiver, name)
    }

    static Object callStatic(Class type, String name, Object[] arguments) {
        require(statics(type, name, arguments), type.name + ' ' + name)
        return InvokerHelper.invokeMethod(type, name, arguments)
    }

    static Object create(Class type, Object[] arguments) {
        require(type.constructors.findAll { takes(it.parameterTypes, arguments) }
            .collect { 'new ' + type.name + shown(it.parameterTypes) }, 'new ' + type.name)
        return InvokerHelper.invokeConstructorOf(type, arguments)
    }

    /** Of a Map a property is an entry; of anything else what its getter returns. */
    static Object read(Object receiver, String name) {
        if (receiver instanceof Class) {
            require(["staticField ${receiver.name} ${name}".toString()], name)
        } else if (receiver != null && !own(receiver) && !(receiver instanceof Map)) {
            return call(receiver, 'get' + name.capitalize(), [] as Object[])
        }
        return InvokerHelper.getProperty(receiver, name)
    }

    /** Scripts, closures and what Jenkins gives a pipeline, such as env and currentBuild: all of that is allowed. */
    private static boolean own(Object receiver) {
        // Why a build was interrupted is not on the list.
        if (receiver instanceof Interrupted) {
            return false
        }
        return receiver instanceof Script || receiver instanceof Closure || receiver.getClass().package?.name == 'pipeline' ||
            receiver.getClass().name == 'Environment'
    }

    /** What a call may be named as in the list: by the class or interface of Java, else by the class of Groovy's methods. */
    private static List<String> signatures(Object receiver, String name, Object[] arguments) {
        List<String> found = hierarchy(receiver.getClass()).collectMany { type ->
            type.declaredMethods.findAll { it.name == name && !Modifier.isStatic(it.modifiers) && takes(it.parameterTypes, arguments) }
                .collect { 'method ' + type.name + ' ' + name + shown(it.parameterTypes) }
        }
        if (found) {
            return found
        }
        Object[] all = ([receiver] + (arguments as List)) as Object[]
        return GROOVY.findResult([]) { statics(it, name, all) ?: null }
    }

    /** The most specific static methods that take the arguments. */
    private static List<String> statics(Class type, String name, Object[] arguments) {
        List<Method> found = type.methods.findAll { it.name == name && Modifier.isStatic(it.modifiers) && takes(it.parameterTypes, arguments) }
        found = found.findAll { one -> !found.any { it != one && narrower(it.parameterTypes, one.parameterTypes) } }
        return found.collect { 'staticMethod ' + type.name + ' ' + name + shown(it.parameterTypes) }
    }

    private static boolean narrower(Class[] one, Class[] other) {
        return [one as List, other as List].transpose().every { it[1].isAssignableFrom(it[0]) }
    }

    private static boolean takes(Class[] types, Object[] arguments) {
        return types.length == arguments.length && [types as List, arguments as List].transpose().every { type, value ->
            value == null ? !type.primitive : ClassHelper.getWrapper(ClassHelper.make(type)).typeClass.isInstance(value)
        }
    }

    private static Set<Class> hierarchy(Class type) {
        Set<Class> found = [type] as LinkedHashSet
        for (above in [type.superclass, *type.interfaces].findAll()) {
            found.addAll(hierarchy(above))
        }
        return found
    }

    private static String shown(Class[] types) {
        return types.collect { ' ' + it.canonicalName }.join('')
    }

    private static void require(List<String> signatures, String otherwise) {
        if (!signatures.any { it in LIST } && !Build.running()?.specification?.trusted) {
            throw new RejectedAccessException(signatures ? signatures[0] : 'unclassified ' + otherwise)
        }
    }

    static boolean casts(String type) {
        return type in CASTS
    }
}

/** Puts Sandbox between a script and everything that it reaches. */
class Checked extends ClassCodeExpressionTransformer {
    static final Map<Integer, String> OPERATORS = [
        (Types.PLUS): 'plus', (Types.LEFT_SHIFT): 'leftShift', (Types.MINUS): 'minus', (Types.MULTIPLY): 'multiply',
    ]
    private final SourceUnit source

    Checked(SourceUnit source) {
        this.source = source
    }

    @Override
    protected SourceUnit getSourceUnit() {
        return source
    }

    @Override
    Expression transform(Expression expression) {
        switch (expression) {
            case null: return null
            case ClosureExpression:
                expression.code.visit(this)
                return expression
            case MethodCallExpression: return method(expression)
            case StaticMethodCallExpression: return staticCall(expression)
            case ConstructorCallExpression:
                return checked('create', [new ClassExpression(expression.type), array(expression.arguments)])
            case PropertyExpression: return property(expression)
            case DeclarationExpression: return expression.transformExpression(this)
            case BinaryExpression: return binary(expression)
            case CastExpression:
                if (!Sandbox.casts(expression.type.name)) {
                    throw new RejectedAccessException('a cast to ' + expression.type.name)
                }
                return expression.transformExpression(this)
            default: return expression.transformExpression(this)
        }
    }

    private Expression method(MethodCallExpression call) {
        if (call.implicitThis || call.objectExpression.text in ['this', 'super']) {
            return call.transformExpression(this)
        }
        if (call.spreadSafe || !(call.method instanceof ConstantExpression)) {
            throw new IllegalArgumentException("the harness cannot check ${call.text}")
        }
        Expression object = transform(call.objectExpression)
        String entry = object instanceof ClassExpression ? 'callStatic' : call.safe ? 'callSafely' : 'call'
        return checked(entry, [object, call.method, array(call.arguments)])
    }

    /** Calls that the harness itself put into the script are not the script's. */
    private Expression staticCall(StaticMethodCallExpression call) {
        if (call.ownerType.name == Survival.name || call.ownerType.name == Sandbox.name) {
            return call
        }
        return checked('callStatic', [new ClassExpression(call.ownerType), new ConstantExpression(call.method), array(call.arguments)])
    }

    private Expression property(PropertyExpression found) {
        if (found.spreadSafe || !(found.property instanceof ConstantExpression)) {
            throw new IllegalArgumentException("the harness cannot check ${found.text}")
        }
        if (found.objectExpression.text == 'this') {
            return found.transformExpression(this)
        }
        return checked(found.safe ? 'readSafely' : 'read', [transform(found.objectExpression), found.property])
    }

    private Expression binary(BinaryExpression found) {
        if (Types.ofType(found.operation.type, Types.ASSIGNMENT_OPERATOR)) {
            Expression place = found.leftExpression
            // What is assigned to: its own parts are read, it is not.
            Expression left = place instanceof PropertyExpression || place instanceof BinaryExpression ?
                place.transformExpression(this) : place
            return new BinaryExpression(left, found.operation, transform(found.rightExpression)).with { it.sourcePosition = found; it }
        }
        String name = OPERATORS[found.operation.type]
        if (!name) {
            return found.transformExpression(this)
        }
        List<Expression> operands = [transform(found.rightExpression)]
        return checked('call', [transform(found.leftExpression), new ConstantExpression(name), new ArrayExpression(ClassHelper.OBJECT_TYPE, operands)])
    }

    private Expression array(Expression arguments) {
        List<Expression> all = (arguments instanceof TupleExpression ? arguments.expressions : [arguments]).collect { transform(it) }
        return new ArrayExpression(ClassHelper.OBJECT_TYPE, all)
    }

    private static Expression checked(String entry, List<Expression> arguments) {
        return new StaticMethodCallExpression(ClassHelper.make(Sandbox), entry, new ArgumentListExpression(arguments))
    }
}
