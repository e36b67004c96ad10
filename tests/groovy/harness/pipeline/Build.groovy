package pipeline

/**
 * One build: its environment, its log, and every step that it called.
 *
 * The specification is what the test sent: build, user, params, environment (of the agent),
 * credentials, workspace, checkout, approver, answers (of an input with parameters), mail ('refused'),
 * abort (after: a text of the console, signal), restart (stage and stashes of an earlier build),
 * restarted (whether the controller restarts while the build waits for an answer), unanswered (how a question
 * without an approver ends: rejected by who started the build, or 'timeout' or 'abort'), sandboxed (whether the
 * script runs in the script sandbox; the library always does), trusted (whether the sandbox allows everything: the
 * library is a global one), withoutPlugins (whether Jenkins has only the plugins that every pipeline needs).
 */
class Build {
    private static final InheritableThreadLocal<Build> RUNNING = new InheritableThreadLocal<>()
    final Map specification
    final List<String> calls = []
    final List<String> scripts = []
    final List<String> written = []
    final List<String> secrets = []
    final List<String> reports = []
    final List<Map> mails = []
    final Map<String, String> artifacts = [:]
    final Map<String, String> assigned = [:]
    final Map<String, Map> stashes = [:]
    final Map params = [:]
    final StringBuilder console = new StringBuilder()
    /** Variables of pipeline code that were stored and read back, by where they stand. */
    final Set<String> survivors = [] as TreeSet
    /** Whether the stashes outlive the build: the option preserveStashes. */
    boolean stashesArePreserved = false
    /** Whether each line begins with its time: the option timestamps. */
    boolean stamped = false
    /** What a step made of the build although it goes on. */
    String result = 'SUCCESS'
    Script script
    File current
    private final List<Map> overlays = []
    private int depth = 0

    Build(Map specification) {
        this.specification = specification
        params.putAll((specification.params ?: [:]) as Map)
    }

    static Build running() {
        return RUNNING.get()
    }

    void begin() {
        RUNNING.set(this)
    }

    /** A step can make the result of a build worse, never better. */
    void worsen(String other) {
        List<String> order = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'ABORTED']
        result = order[[order.indexOf(result), order.indexOf(other)].max()]
    }

    /** The controller stops and starts again: of a build it has what is on its disk. */
    void surviveRestart() {
        print('Resuming build at ' + new Date() + ' after Jenkins restart')
        for (state in [assigned: assigned, params: params, stashes: stashes]) {
            Map stored = Survival.copy(state.value, state.key) as Map
            state.value.clear()
            state.value.putAll(stored)
        }
        List stored = Survival.copy(overlays, 'environment') as List
        overlays.clear()
        overlays.addAll(stored)
        print('Ready to run at ' + new Date())
    }

    /** The variables that a step sees; outside a node there is no agent's environment. */
    Map<String, String> environment() {
        Map<String, String> all = [:]
        all.BUILD_NUMBER = specification.build as String
        all.BUILD_URL = "https://jenkins.example/job/skydrm/${specification.build}/".toString()
        params.each { name, value -> all[name as String] = value as String }
        if (current) {
            all.putAll(specification.environment as Map)
            all.WORKSPACE = specification.workspace as String
            all.WORKSPACE_TMP = scratch().path
        }
        all.putAll(assigned)
        overlays.each { overlay -> overlay.each { name, value ->
            if (value) {
                all[name as String] = value as String
            } else {
                all.remove(name)
            }
        } }
        return all
    }

    File scratch() {
        return new File(specification.workspace + '@tmp')
    }

    Object within(Map<String, String> overlay, Closure body) {
        overlays.add(overlay)
        try {
            return body()
        } finally {
            overlays.remove(overlays.size() - 1)
        }
    }

    /** Replaces $NAME, ${NAME} and $$ as hudson.Util.replaceMacro does; what is not known stays. */
    String expand(String text) {
        Map known = environment()
        return text.replaceAll(/\$(\$|[A-Za-z0-9_]+|\{[A-Za-z0-9_.]+\})/) { all, name ->
            String plain = name.replaceAll(/[{}]/, '')
            name == '$' ? '$' : known.containsKey(plain) ? known[plain] : all
        }
    }

    Object record(String name, Map arguments, Closure body) {
        Map shown = [:]
        arguments.each { key, value -> shown[key] = key == 'script' ? '(script)' : key == 'body' ? '(text)' : isJson(value) ? '(JSON)' : value }
        calls << ('    ' * depth + name + '(' + describe(shown) + ')')
        depth++
        try {
            return body()
        } finally {
            depth--
        }
    }

    private static boolean isJson(Object value) {
        return value instanceof CharSequence && value.toString().startsWith('{')
    }

    File resolve(String path) {
        if (current == null) {
            throw new IllegalStateException('Required context class hudson.FilePath is missing\n' +
                'Perhaps you forgot to surround the step with a step that provides this, such as: node')
        }
        return path.startsWith('/') ? new File(path) : new File(current, path)
    }

    void print(String text) {
        synchronized (console) {
            for (line in text.split('\n')) {
                console << (stamped ? '[' + java.time.Instant.now().truncatedTo(java.time.temporal.ChronoUnit.MILLIS) + '] ' : '') <<
                    line << '\n'
            }
        }
    }

    void keepSecret(String value) {
        secrets << value
    }

    /** Where a secret, a line of one, or its base64 form shows: in what is recorded, logged or answered. */
    List<String> leaks(Object answer, String failure) {
        Map places = [calls: calls.join('\n'), scripts: scripts.join('\n'), files: written.join('\n'), console: console.toString(),
                      answer: String.valueOf(answer), failure: String.valueOf(failure)]
        List<String> found = []
        for (secret in secrets) {
            List<String> forms = secret.readLines().findAll { it.length() >= 8 && !it.startsWith('-----') }
            forms << secret.bytes.encodeBase64().toString()
            for (place in places) {
                if (forms.any { place.value.contains(it) }) {
                    found << place.key
                }
            }
        }
        return found.unique()
    }

    static String describe(Object value) {
        if (value instanceof Map) {
            return value.collect { key, inner -> key + ': ' +
                (inner instanceof Map || inner instanceof List ? '[' + describe(inner) + ']' : describe(inner)) }.join(', ')
        }
        if (value instanceof List) {
            return value.collect { it instanceof Map ? '[' + describe(it) + ']' : describe(it) }.join(', ')
        }
        return value instanceof CharSequence ? "'" + value.toString().replace('\n', '\\n') + "'" : value as String
    }
}
