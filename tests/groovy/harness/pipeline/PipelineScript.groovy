package pipeline

/** Base class of every script: what it does not define itself is a step or a symbol. */
abstract class PipelineScript extends Script {
    /** Symbols of credentials, parameters and job properties: they describe, they do not run. */
    private static final List<String> SYMBOLS = ['usernamePassword', 'file', 'string', 'booleanParam', 'choice']

    Object pipeline(Closure body) {
        return new Declarative(build(), this).run(body)
    }

    Object methodMissing(String name, Object passed) {
        List arguments = passed as List
        if (name in SYMBOLS) {
            return [symbol: name] + arguments[0]
        }
        Closure body = arguments && arguments.last() instanceof Closure ? arguments.last() : null
        List values = body ? arguments.init() : arguments
        return new Steps(build(), this).call(name, values, body)
    }

    /** Environment variables can be read without env, as in Jenkins. */
    Object propertyMissing(String name) {
        String value = build().environment()[name]
        if (value == null) {
            throw new MissingPropertyException(name, getClass())
        }
        return value
    }

    Build build() {
        return binding.getVariable('harness') as Build
    }
}
