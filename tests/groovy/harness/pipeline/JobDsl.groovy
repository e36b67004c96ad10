package pipeline

import org.codehaus.groovy.control.CompilerConfiguration

/**
 * Runs a script of the plugin Job DSL and records its calls, each with the values and the calls in its block.
 *
 * Only methods of the plugin's API are known, where the plugin has them and with the types that it takes: see
 * "Job DSL API" of the plugin for folder, pipelineJob, BuildParametersContext, CpsScmContext and GitContext.
 */
class JobDsl {
    private static final Map<String, Map<String, List<Class>>> METHODS = [
        (null): [folder: [String], pipelineJob: [String]],
        folder: [description: [String]],
        pipelineJob: [description: [String], parameters: [], definition: []],
        parameters: [stringParam: [String, String, String], textParam: [String, String, String],
                     booleanParam: [String, Boolean, String], choiceParam: [String, List, String]],
        definition: [cpsScm: []],
        cpsScm: [scm: [], scriptPath: [String], lightweight: [Boolean]],
        scm: [git: []],
        git: [remote: [], branch: [String], extensions: []],
        remote: [url: [String], credentials: [String]],
    ]
    final List<Map> calls = []
    private final String place

    JobDsl(String place) {
        this.place = place
    }

    static List<Map> run(String text) {
        JobDsl top = new JobDsl(null)
        CompilerConfiguration configuration = new CompilerConfiguration(scriptBaseClass: DelegatingScript.name)
        DelegatingScript script = new GroovyShell(JobDsl.classLoader, new Binding(), configuration).parse(text) as DelegatingScript
        script.setDelegate(top)
        script.run()
        return top.calls
    }

    Object methodMissing(String name, Object passed) {
        List values = passed as List
        Closure body = values && values.last() instanceof Closure ? values.last() as Closure : null
        values = body ? values.init() : values
        List<Class> types = METHODS[place]?.get(name)
        if (types == null || types.size() != values.size() || [types, values].transpose().any { !it[0].isInstance(it[1]) }) {
            throw new MissingMethodException(name, getClass(), passed as Object[])
        }
        JobDsl inner = new JobDsl(name)
        if (body) {
            Closure own = body.rehydrate(inner, body.owner, body.thisObject)
            own.resolveStrategy = Closure.DELEGATE_ONLY
            own()
        }
        calls << [name: name, values: values, calls: inner.calls]
        return null
    }
}
