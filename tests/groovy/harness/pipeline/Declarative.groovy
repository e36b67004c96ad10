package pipeline

/** Runs a declarative pipeline: the sections and the order that jenkins.io/doc/book/pipeline/syntax states. */
class Declarative {
    private static final List<String> KNOWN = ['timeout', 'disableConcurrentBuilds', 'buildDiscarder', 'preserveStashes', 'timestamps']
    /** In this order, whatever the script's. */
    private static final List<String> ENDINGS = ['always', 'aborted', 'failure', 'success', 'unstable', 'unsuccessful', 'cleanup']
    private final Build build
    private final Script script

    Declarative(Build build, Script script) {
        this.build = build
        this.script = script
    }

    Object run(Closure body) {
        Section root = section(body, ['agent', 'options', 'parameters', 'environment', 'stages', 'post'])
        root.need('agent')
        root.need('stages')
        declare(root)
        Map<String, String> variables = environment(root)
        List<Entry> stages = section(root.closure('stages'), ['stage']).entries
        build.stashesArePreserved = options(root, KNOWN).any { it.name == 'preserveStashes' }
        // What the end of the build says stands outside of the option.
        build.stamped = options(root, KNOWN).any { it.name == 'timestamps' }
        try {
            build.within(variables) {
                wrapped(options(root, KNOWN), 0) {
                    onAgent(root) {
                        followed(root) {
                            for (stage in fromRestart(stages)) {
                                runStage(stage.values[0] as String, stage.values[1] as Closure)
                            }
                        }
                    }
                }
            }
        } finally {
            build.stamped = false
        }
        return null
    }

    /** The stages that run: all, or those from the one that the build was restarted from. */
    private List<Entry> fromRestart(List<Entry> stages) {
        String first = build.specification.restart?.stage
        int index = first == null ? 0 : stages.findIndexOf { it.values[0] == first }
        if (index < 0) {
            throw new IllegalArgumentException("There is no stage ${first} to restart from")
        }
        for (stage in stages.take(index)) {
            build.print("Stage \"${stage.values[0]}\" skipped due to this build restarting at stage \"${first}\"")
        }
        return stages.drop(index)
    }

    private void runStage(String name, Closure body) {
        Section stage = section(body, ['agent', 'options', 'environment', 'when', 'input', 'steps', 'post'])
        stage.need('steps')
        build.print('[Pipeline] stage (' + name + ')')
        build.record('stage', [name: name]) {
            Section when = stage.closure('when') ?
                section(stage.closure('when'), ['beforeOptions', 'beforeInput', 'beforeAgent', 'expression']) : null
            boolean early = when?.value('beforeOptions')
            if (early && !holds(when)) {
                return skipped(name)
            }
            wrapped(options(stage, ['timeout', 'lock']), 0) {
                boolean beforeInput = when?.value('beforeInput')
                if (!early && beforeInput && !holds(when)) {
                    return skipped(name)
                }
                build.within(environment(stage) + answered(stage)) {
                    boolean beforeAgent = when?.value('beforeAgent')
                    if (!early && !beforeInput && beforeAgent && !holds(when)) {
                        return skipped(name)
                    }
                    onAgent(stage) {
                        if (!early && !beforeInput && !beforeAgent && when && !holds(when)) {
                            return skipped(name)
                        }
                        followed(stage) { inScript(stage.closure('steps')) }
                    }
                }
            }
        }
    }

    private void skipped(String name) {
        build.print("Stage \"${name}\" skipped due to when conditional")
    }

    private boolean holds(Section when) {
        return inScript(when.closure('expression')) as boolean
    }

    /** Asks as the input directive does and returns the variables that it gives the stage. */
    private Map<String, String> answered(Section stage) {
        if (!stage.closure('input')) {
            return [:]
        }
        Section input = section(stage.closure('input'), ['message', 'id', 'ok', 'submitter', 'submitterParameter', 'parameters'])
        Map arguments = input.entries.findAll { it.name != 'parameters' }.collectEntries { [it.name, it.values[0]] }
        if (input.closure('parameters')) {
            arguments.parameters = section(input.closure('parameters'), ['string', 'booleanParam', 'choice']).entries
                .collect { [symbol: it.name] + (it.values[0] as Map) }
        }
        Object answer = new Steps(build, script).call('input', [arguments], null)
        if (answer instanceof Map) {
            return answer.collectEntries { name, value -> [name, value as String] }
        }
        return arguments.submitterParameter ? [(arguments.submitterParameter): answer as String] : [:]
    }

    /** Without an agent of its own a section stays where it is; with one the sources are checked out. */
    private Object onAgent(Section section, Closure body) {
        Object agent = section.value('agent')
        if (agent == null || agent == 'none') {
            return body()
        }
        String label = agent instanceof Closure ? this.section(agent, ['label']).value('label') : agent
        return new Steps(build, script).call('node', [label], {
            Map found = new Steps(build, script).call('checkout', ['scm'], null) as Map
            build.assigned.putAll(found)
            body()
        })
    }

    private void declare(Section root) {
        if (!root.closure('parameters')) {
            return
        }
        Map sent = build.params.clone() as Map
        build.params.clear()
        for (entry in section(root.closure('parameters'), ['string', 'booleanParam', 'choice']).entries) {
            Map declared = entry.values[0]
            Object missing = entry.name == 'booleanParam' ? false : entry.name == 'choice' ? declared.choices[0] : ''
            build.params[declared.name] = sent.containsKey(declared.name) ? sent[declared.name] : declared.defaultValue ?: missing
        }
    }

    private List<Entry> options(Section section, List<String> known) {
        return section.closure('options') ? this.section(section.closure('options'), known).entries : []
    }

    private Object wrapped(List<Entry> options, int index, Closure body) {
        if (index == options.size()) {
            return body()
        }
        Entry option = options[index]
        if (!(option.name in ['timeout', 'lock'])) {
            return wrapped(options, index + 1, body)
        }
        return new Steps(build, script).call(option.name, option.values, { wrapped(options, index + 1, body) })
    }

    private Map<String, String> environment(Section section) {
        Closure body = section.closure('environment')
        return body ? this.section(body, []).variables : [:]
    }

    /** Runs the body and then what the section's post says, on the same agent. */
    private void followed(Section section, Closure body) {
        Throwable failure = null
        try {
            body()
        } catch (Throwable error) {
            failure = error
        }
        afterwards(section, failure)
        if (failure) {
            throw failure
        }
    }

    private void afterwards(Section root, Throwable failure) {
        if (!root.closure('post')) {
            return
        }
        String outcome = failure == null ? build.result.toLowerCase() : failure instanceof Interrupted ? 'aborted' : 'failure'
        List<String> apply = ['always', outcome, 'cleanup'] + (outcome == 'success' ? [] : ['unsuccessful'])
        List<Entry> entries = section(root.closure('post'), ENDINGS).entries.findAll { it.name in apply }
        for (entry in entries.sort { ENDINGS.indexOf(it.name) }) {
            inScript(entry.values[0] as Closure)
        }
    }

    private Object inScript(Closure body) {
        body.delegate = script
        body.resolveStrategy = Closure.DELEGATE_FIRST
        return body()
    }

    private Section section(Closure body, List<String> known) {
        Section section = new Section(known)
        body.delegate = section
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body()
        return section
    }
}

/** One directive: its name and what follows it. */
class Entry {
    String name
    List values
}

/** Collects the directives of a block; an unknown one is an error, as Jenkins' own validation has it. */
class Section {
    final List<Entry> entries = []
    final Map<String, String> variables = [:]
    private final List<String> known

    Section(List<String> known) {
        this.known = known
    }

    String getAny() {
        return 'any'
    }

    String getNone() {
        return 'none'
    }

    Object methodMissing(String name, Object passed) {
        if (!(name in known)) {
            throw new IllegalArgumentException("Undefined section \"${name}\"; here may stand ${known}")
        }
        entries << new Entry(name: name, values: passed as List)
        return null
    }

    void propertyMissing(String name, Object value) {
        variables[name] = value as String
    }

    Object value(String name) {
        Entry found = entries.find { it.name == name }
        return found == null ? null : found.values ? found.values[0] : true
    }

    Closure closure(String name) {
        return value(name) as Closure
    }

    void need(String name) {
        if (value(name) == null) {
            throw new IllegalArgumentException("Missing required section \"${name}\"")
        }
    }
}
