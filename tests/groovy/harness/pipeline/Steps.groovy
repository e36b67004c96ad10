package pipeline

import groovy.io.FileType
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.Paths
import java.nio.file.StandardCopyOption
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.TimeUnit
import java.util.concurrent.locks.ReentrantLock
import java.util.regex.Pattern
import java.util.stream.Collectors

/** The steps that Jenkins and its usual plugins bring, as far as the library and the jobs use them. */
class Steps {
    /** Parameters of each step, the one that may stand alone first; any other is an error, as in Jenkins. */
    private static final Map<String, List<String>> PARAMETERS = [
        archiveArtifacts: ['artifacts', 'fingerprint', 'allowEmptyArchive'],
        catchError: ['message', 'buildResult', 'stageResult', 'catchInterruptions'],
        checkout: ['scm'],
        deleteDir: [],
        dir: ['path'],
        echo: ['message'],
        error: ['message'],
        fileExists: ['file'],
        input: ['message', 'id', 'ok', 'submitter', 'submitterParameter', 'parameters'],
        junit: ['testResults', 'allowEmptyResults', 'skipMarkingBuildUnstable', 'checksName'],
        lock: ['resource'],
        mail: ['to', 'subject', 'body'],
        node: ['label'],
        parallel: null,
        readFile: ['file', 'encoding'],
        script: [],
        sh: ['script', 'encoding', 'label', 'returnStatus', 'returnStdout'],
        stage: ['name'],
        stash: ['name', 'includes'],
        timeout: ['time', 'unit'],
        unstable: ['message'],
        unstash: ['name'],
        withCredentials: ['bindings'],
        withEnv: ['overrides'],
        writeFile: ['file', 'text', 'encoding'],
    ]
    /** Where a Map names the class that it describes. */
    private static final String CLASS = '$class'
    private static final ConcurrentHashMap<String, ReentrantLock> LOCKS = new ConcurrentHashMap<>()
    private final Build build
    private final Script script

    Steps(Build build, Script script) {
        this.build = build
        this.script = script
    }

    Object call(String name, List values, Closure body) {
        if (!PARAMETERS.containsKey(name)) {
            throw new NoSuchMethodError("No such DSL method '${name}' found among steps ${PARAMETERS.keySet()}")
        }
        List<String> known = PARAMETERS[name]
        Map arguments = [:]
        if (values.size() == 1 && values[0] instanceof Map) {
            arguments = values[0]
        } else if (values.size() == 1 && known) {
            arguments[known[0]] = values[0]
        } else if (values) {
            throw new IllegalArgumentException("${name}: expected named arguments, got ${values.size()} values")
        }
        Set unknown = known == null ? [] as Set : arguments.keySet() - known
        if (unknown) {
            throw new IllegalArgumentException("${name}: unknown parameters ${unknown}; known are ${known}")
        }
        arguments = arguments.collectEntries { key, value -> [key, value instanceof GString ? value as String : value] }
        String label = arguments.label && name == 'sh' ? ' (' + arguments.label + ')' : name == 'stage' ? ' (' + arguments.name + ')' : ''
        build.print('[Pipeline] ' + name + label)
        Closure shown = body == null ? null : { ->
            build.print('[Pipeline] {')
            try {
                return body()
            } finally {
                build.print('[Pipeline] }')
            }
        }
        try {
            return build.record(name, known == null ? [:] : arguments) { this."do_$name"(arguments, shown) }
        } finally {
            if (body != null) {
                build.print('[Pipeline] // ' + name)
            }
        }
    }

    Object do_archiveArtifacts(Map given, Closure body) {
        String patterns = (given.artifacts as String).replaceAll('/(?=,|$)', '/**')
        List<String> found = matching(patterns)
        if (found) {
            build.artifacts.putAll(found.collectEntries { [it, build.resolve(it).text] })
        } else if (!given.allowEmptyArchive) {
            throw new Aborted("No artifacts found that match the file pattern \"${given.artifacts}\".")
        }
    }

    /** Goes on behind its body whatever that threw, and makes the build what it is told. */
    Object do_catchError(Map given, Closure body) {
        try {
            return body()
        } catch (Exception error) {
            if (error instanceof Aborted) {
                build.print('ERROR: ' + (given.message ?: error.message))
            } else {
                // CatchErrorStep shows the whole stack of what is no AbortException.
                build.print([error.toString(), *error.stackTrace*.toString()].join('\n\tat '))
            }
            build.worsen(given.buildResult ?: 'FAILURE')
        }
    }

    /** Copies the sources that the test names, as a checkout of them would. */
    Object do_checkout(Map given, Closure body) {
        Map source = build.specification.checkout
        Path from = Paths.get(source.folder as String)
        Path to = build.current.toPath()
        Files.walk(from).iterator().each { path ->
            Path target = to.resolve(from.relativize(path))
            if (!Files.isDirectory(path)) {
                Files.copy(path, target, StandardCopyOption.REPLACE_EXISTING)
            } else if (!Files.exists(target)) {
                Files.createDirectories(target)
            }
        }
        return [GIT_COMMIT: source.commit]
    }

    Object do_deleteDir(Map given, Closure body) {
        build.current.deleteDir()
    }

    Object do_dir(Map given, Closure body) {
        File before = build.current
        build.current = build.resolve(given.path)
        try {
            return body()
        } finally {
            build.current = before
        }
    }

    Object do_echo(Map given, Closure body) {
        build.print(given.message)
    }

    Object do_error(Map given, Closure body) {
        throw new Aborted(given.message)
    }

    Object do_fileExists(Map given, Closure body) {
        return build.resolve(given.file).exists()
    }

    /** Answered by the approver that the test names; without one it is aborted. */
    Object do_input(Map given, Closure body) {
        String approver = build.specification.approver
        // A question with a form does not show in the console.
        build.print(given.parameters ? 'Input requested' : given.message + '\n' + (given.ok ?: 'Proceed') + ' or Abort')
        if (build.specification.restarted) {
            build.surviveRestart()
        }
        if (!approver) {
            User user = new User(id: build.specification.user)
            Map ways = [timeout: new ExceededTimeout(), abort: new UserInterruption(user: user)]
            throw new Interrupted(ways[build.specification.unanswered] ?: new Rejection(user: user))
        }
        build.print('Approved by ' + new User(id: approver).displayName)
        // One value comes bare, several as a Map: the names of the parameters, and who answered.
        Map answers = [:]
        for (parameter in (given.parameters ?: [])) {
            Object missing = parameter.symbol == 'choice' ? parameter.choices[0] : parameter.defaultValue ?: ''
            Object sent = (build.specification.answers ?: [:]).get(parameter.name)
            if (parameter.symbol == 'choice' && sent != null && !(sent in parameter.choices)) {
                throw new IllegalArgumentException("Illegal choice for parameter ${parameter.name}: ${sent}")
            }
            answers[parameter.name] = sent ?: missing
        }
        if (given.submitterParameter) {
            answers[given.submitterParameter] = approver
        }
        return answers.size() > 1 ? answers : answers.values().find { true }
    }

    /** Keeps what was reported, as the page of a build shows it; a failure makes the build unstable. */
    Object do_junit(Map given, Closure body) {
        List<String> found = matching(given.testResults as String)
        if (!found) {
            if (given.allowEmptyResults) {
                return null
            }
            throw new Aborted("No test report files were found. Configuration error?")
        }
        build.print('Recording test results')
        for (name in found) {
            String text = build.resolve(name).text
            build.reports << text
            if (!given.skipMarkingBuildUnstable && text =~ /<(failure|error)\b/) {
                build.worsen('UNSTABLE')
            }
        }
    }

    /** Files of the current folder that Ant patterns match, with commas between them. */
    private List<String> matching(String patterns) {
        File root = build.resolve('.')
        List<String> all = []
        if (root.directory) {
            root.eachFileRecurse(FileType.FILES) { all << root.toPath().relativize(it.toPath()).toString() }
        }
        return patterns.split(',')*.trim().collectMany { pattern ->
            String expression = pattern.replaceAll(/\*\*\/|\*\*|\*|[^*]+/) { part ->
                [('**/'): '(?:.*/)?', ('**'): '.*', ('*'): '[^/]*'][part] ?: Pattern.quote(part)
            }
            all.findAll { it ==~ expression }.sort()
        }.unique()
    }

    Object do_mail(Map given, Closure body) {
        if (build.specification.mail == 'refused') {
            throw new ConnectException("Couldn't connect to host, port: localhost, 25; timeout 60000;\n" +
                '  nested exception is:\n\tjava.net.ConnectException: Connection refused')
        }
        build.mails << [to: given.to, subject: given.subject, body: given.body]
    }

    Object do_lock(Map given, Closure body) {
        ReentrantLock lock = LOCKS.computeIfAbsent(given.resource) { new ReentrantLock() }
        if (!lock.tryLock(60, TimeUnit.SECONDS)) {
            throw new Interrupted(new Stuck(shortDescription: "the lock ${given.resource} is still held after 60 s"))
        }
        try {
            return body()
        } finally {
            lock.unlock()
        }
    }

    Object do_node(Map given, Closure body) {
        File before = build.current
        build.current = new File(build.specification.workspace as String)
        build.current.mkdirs()
        try {
            return body()
        } finally {
            build.current = before
        }
    }

    Object do_readFile(Map given, Closure body) {
        return build.resolve(given.file).getText(given.encoding ?: 'UTF-8')
    }

    Object do_script(Map given, Closure body) {
        return body()
    }

    /** As durable-task does it: a first line of its own decides, otherwise sh -xe. */
    Object do_sh(Map given, Closure body) {
        String text = given.script
        build.scripts << text
        File current = build.resolve('.')
        current.mkdirs()
        File file = new File(build.scratch(), 'durable-' + UUID.randomUUID() + '/script.sh')
        file.parentFile.mkdirs()
        file.text = text
        List<String> shell = text.startsWith('#!') ? text.readLines()[0].substring(2).trim().split(' ') as List : ['/bin/sh', '-xe']
        ProcessBuilder builder = new ProcessBuilder(shell + file.path).directory(current)
        builder.environment().clear()
        builder.environment().putAll(build.environment())
        builder.redirectErrorStream(!given.returnStdout)
        builder.redirectInput(new File('/dev/null'))
        Process process = builder.start()
        Thread errors = given.returnStdout ? Thread.start { process.errorStream.eachLine { build.print(it) } } : null
        String answer = null
        boolean aborted = false
        if (given.returnStdout) {
            answer = process.inputStream.getText(given.encoding ?: 'UTF-8')
        } else {
            process.inputStream.eachLine {
                build.print(it)
                aborted |= stopped(it, process)
            }
        }
        int status = process.waitFor()
        errors?.join()
        file.parentFile.deleteDir()
        if (aborted) {
            // Even with returnStatus: what was aborted has no status.
            throw new Interrupted(new UserInterruption(user: new User(id: build.specification.user)))
        }
        if (given.returnStatus) {
            return status
        }
        if (status != 0) {
            throw new Aborted("script returned exit code ${status}")
        }
        return answer
    }

    /** Ends a program as the test wants it: TERM is what Jenkins does for an abort, KILL what a kernel does. */
    private boolean stopped(String line, Process process) {
        Map abort = build.specification.abort as Map
        if (!abort || !line.contains(abort.after as String)) {
            return false
        }
        List<ProcessHandle> all = process.descendants().collect(Collectors.toList()) + process.toHandle()
        if (abort.signal == 'KILL') {
            all*.destroyForcibly()
            return false
        }
        build.print('Sending interrupt signal to process')
        all*.destroy()
        return true
    }

    Object do_stage(Map given, Closure body) {
        return body()
    }

    Object do_stash(Map given, Closure body) {
        List<String> found = matching(given.includes as String)
        if (!found) {
            throw new Aborted("No files included in stash '${given.name}'")
        }
        build.stashes[given.name as String] = found.collectEntries { name ->
            [(name): build.resolve(name).bytes.encodeBase64().toString()]
        }
    }

    Object do_timeout(Map given, Closure body) {
        return body()
    }

    Object do_unstable(Map given, Closure body) {
        build.print('WARNING: ' + given.message)
        build.worsen('UNSTABLE')
    }

    Object do_unstash(Map given, Closure body) {
        Map kept = build.stashes[given.name as String]
        if (kept == null) {
            throw new Aborted("No such saved stash \u2018${given.name}\u2019")
        }
        // What is there besides stays.
        kept.each { name, content ->
            File file = build.resolve(name as String)
            file.parentFile.mkdirs()
            file.bytes = (content as String).decodeBase64()
        }
    }

    /** Binds what the test keeps under an id; a secret file stands beside the workspace meanwhile. */
    Object do_withCredentials(Map given, Closure body) {
        Map<String, String> bound = [:]
        List<File> files = []
        try {
            for (binding in given.bindings) {
                if (binding[CLASS]) {
                    bound.putAll(boundByClass(binding as Map))
                    continue
                }
                Map kept = build.specification.credentials[binding.credentialsId]
                if (kept == null) {
                    throw new Aborted("Could not find credentials entry with ID '${binding.credentialsId}'")
                }
                if (kept.kind != binding.symbol) {
                    throw new Aborted("Credentials '${binding.credentialsId}' is of type '${kept.kind}' where " +
                        "'${binding.symbol}' was expected")
                }
                if (kept.kind == 'usernamePassword') {
                    build.keepSecret(kept.password)
                    bound[binding.usernameVariable] = kept.username
                    bound[binding.passwordVariable] = kept.password
                } else if (kept.kind == 'string') {
                    build.keepSecret(kept.secret)
                    bound[binding.variable] = kept.secret
                } else {
                    build.keepSecret(kept.content)
                    File file = new File(build.scratch(), 'secretFiles/' + UUID.randomUUID() + '/' + kept.name)
                    file.parentFile.mkdirs()
                    file.text = kept.content
                    files << file
                    bound[binding.variable] = file.path
                }
            }
            return build.within(bound, body)
        } finally {
            files.each { it.parentFile.deleteDir() }
        }
    }

    /** AmazonWebServicesCredentialsBinding of the plugin aws-credentials: with a role, the session of that role. */
    private Map<String, String> boundByClass(Map binding) {
        if (binding[CLASS] != 'AmazonWebServicesCredentialsBinding' || build.specification.withoutPlugins) {
            throw new UnsupportedOperationException('no known implementation of class ' +
                'org.jenkinsci.plugins.credentialsbinding.MultiBinding is named ' + binding[CLASS])
        }
        Set<String> unknown = binding.keySet() - [CLASS, 'credentialsId', 'accessKeyVariable', 'secretKeyVariable',
            'roleArn', 'roleSessionName', 'roleSessionDurationSeconds']
        if (unknown || !((binding.roleSessionDurationSeconds ?: 1) instanceof Integer)) {
            throw new IllegalArgumentException('WARNING: Unknown parameter(s) found for class type ' + unknown)
        }
        Map kept = build.specification.credentials[binding.credentialsId]
        if (kept == null) {
            throw new Aborted("Could not find credentials entry with ID '${binding.credentialsId}'")
        }
        if (kept.kind != 'aws') {
            throw new Aborted("Credentials '${binding.credentialsId}' is of type '${kept.kind}' where " +
                "'com.cloudbees.jenkins.plugins.awscredentials.AmazonWebServicesCredentials' was expected")
        }
        Map key = binding.roleArn ? kept.roles[binding.roleArn] : kept
        if (key == null) {
            throw new Aborted('User is not authorized to perform: sts:AssumeRole on resource: ' + binding.roleArn)
        }
        build.keepSecret(key.secret)
        Map<String, String> bound = [(binding.accessKeyVariable): key.key, (binding.secretKeyVariable): key.secret]
        if (key.token) {
            build.keepSecret(key.token)
            bound.AWS_SESSION_TOKEN = key.token
        }
        return bound
    }

    /** Expands variables in the values: EnvStep calls EnvVars.overrideExpandingAll. */
    Object do_withEnv(Map given, Closure body) {
        Map<String, String> overlay = [:]
        for (entry in given.overrides) {
            int equals = (entry as String).indexOf('=')
            overlay[entry.substring(0, equals)] = build.expand(entry.substring(equals + 1))
        }
        return build.within(overlay, body)
    }

    Object do_writeFile(Map given, Closure body) {
        File file = build.resolve(given.file)
        file.parentFile.mkdirs()
        build.written << given.text
        file.setText(given.text, given.encoding ?: 'UTF-8')
    }
}
