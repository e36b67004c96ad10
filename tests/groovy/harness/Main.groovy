// Reads one JSON document a line from stdin, answers with one a line on stdout: see tests/groovy/jenkins.py.
import groovy.json.JsonOutput
import groovy.json.JsonSlurperClassic
import java.util.concurrent.Callable
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.runtime.InvokerHelper
import pipeline.Build
import pipeline.CurrentBuild
import pipeline.GlobalVariable
import pipeline.Interrupted
import pipeline.JobDsl
import pipeline.PipelineScript
import pipeline.Sandbox
import pipeline.SourceFacts
import pipeline.Survival

/** env in a script: reads the environment, keeps what is assigned to it. */
class Environment {
    private final Build build

    Environment(Build build) {
        this.build = build
    }

    Object getProperty(String name) {
        return build.environment()[name]
    }

    void setProperty(String name, Object value) {
        build.assigned[name] = value as String
    }
}

class Controller {
    private final GroovyClassLoader loader
    private final Map<String, Class> vars = [:]

    Controller(File folder) {
        CompilerConfiguration configuration = new CompilerConfiguration(scriptBaseClass: PipelineScript.name)
        // Scripts of the tests reach into the harness; the library, and what a test asks for, may not.
        Closure<Boolean> untrusted = { !it.contains('WorkflowScript') || it.contains('Sandboxed') }
        configuration.addCompilationCustomizers(new Survival(), new Sandbox(untrusted))
        loader = new GroovyClassLoader(getClass().classLoader, configuration)
        for (file in folder.listFiles().sort().findAll { it.name.endsWith('.groovy') }) {
            vars[file.name - '.groovy'] = loader.parseClass(file)
        }
    }

    Map run(Map specification) {
        Build build = new Build(specification)
        build.begin()
        if (specification.restart) {
            build.stashes.putAll(specification.restart.stashes as Map)
        }
        build.print(specification.user ? 'Started by user ' + specification.user : 'Started by timer')
        Binding binding = new Binding([
            harness: build, env: new Environment(build), params: build.params, scm: 'scm',
            currentBuild: new CurrentBuild(specification.user as String, specification.build as String),
        ])
        CurrentBuild currentBuild = binding.getVariable('currentBuild') as CurrentBuild
        vars.each { name, type ->
            binding.setVariable(name, new GlobalVariable(build, name, InvokerHelper.createScript(type, binding)))
        }
        Map outcome = [status: 'SUCCESS', answer: null, failure: null, thrown: null]
        try {
            // The library is loaded above; its annotation and the underscore behind it belong to Jenkins.
            String source = (specification.script as String).replaceAll(/(?m)^@Library\('[^']+'\) _$/, '')
            Class type
            synchronized (loader) {
                String name = 'WorkflowScript' + (specification.sandboxed ? 'Sandboxed' : '')
                type = loader.parseClass(source, name + UUID.randomUUID().toString().replace('-', '') + '.groovy')
            }
            build.script = InvokerHelper.createScript(type, binding)
            outcome.answer = build.script.run()
            serialize(outcome.answer)
            outcome.status = build.result
        } catch (Interrupted interruption) {
            outcome << [status: 'ABORTED', failure: interruption.told(), thrown: interruption.class.simpleName]
        } catch (Throwable error) {
            outcome << [status: 'FAILURE', failure: error.message as String, thrown: error.class.simpleName]
            outcome.trace = error.stackTrace.findAll { it.fileName?.endsWith('.groovy') }.take(8)*.toString()
        }
        if (outcome.failure) {
            build.print((outcome.thrown == 'Aborted' ? 'ERROR: ' : '') + outcome.failure)
        }
        build.print('Finished: ' + outcome.status)
        outcome.leaks = build.leaks(outcome.answer, [outcome.failure, currentBuild.description, currentBuild.displayName, build.mails, build.artifacts].join('\n'))
        return outcome + [description: currentBuild.description, name: currentBuild.displayName, kept: currentBuild.keepLog, reports: build.reports, mails: build.mails, artifacts: build.artifacts,
                          calls: build.calls, scripts: build.scripts, survivors: build.survivors as List,
                          stashes: build.stashesArePreserved ? build.stashes : [:], console: build.console.toString()]
    }

    /** A restart of the controller saves every value that a pipeline holds. */
    private static void serialize(Object value) {
        new ObjectOutputStream(new ByteArrayOutputStream()).writeObject(value)
    }
}

Controller controller = new Controller(new File(args[0]))
ExecutorService pool = Executors.newCachedThreadPool { Runnable work -> new Thread(work).with { daemon = true; it } }
PrintStream out = System.out
System.setOut(System.err) // nothing but answers on stdout
System.in.eachLine('UTF-8') { String line ->
    Map request = new JsonSlurperClassic().parseText(line) as Map
    Object answer
    if (request.jobDsl) {
        try {
            answer = JobDsl.run(request.jobDsl as String)
        } catch (MissingMethodException missing) {
            answer = [error: missing.message]
        }
    } else if (request.facts) {
        answer = SourceFacts.of(new File(request.facts as String))
    } else {
        List<Callable> builds = request.builds.collect { specification -> { -> controller.run(specification as Map) } as Callable }
        answer = pool.invokeAll(builds)*.get()
    }
    out.println(JsonOutput.toJson(answer))
    out.flush()
}
System.exit(0)
