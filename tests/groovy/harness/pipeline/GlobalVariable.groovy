package pipeline

/** A script of vars/ as pipelines see it: called as a step, and its methods by name. */
class GlobalVariable {
    private final Build build
    private final String name
    private final Script script

    GlobalVariable(Build build, String name, Script script) {
        this.build = build
        this.name = name
        this.script = script
    }

    Object call(Object... arguments) {
        Map shown = arguments && arguments[0] instanceof Map ? arguments[0] : [:]
        return build.record(name, shown) { script.invokeMethod('call', arguments) }
    }

    Object methodMissing(String method, Object arguments) {
        return script.invokeMethod(method, arguments)
    }
}
