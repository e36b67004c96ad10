// Internal: name and description of a build say what it did, or why it did not. See jenkinsReleaseOutcome.txt.
import com.cloudbees.groovy.cps.NonCPS

/** Runs the body of a stage. A failure goes on as it is, once name and description say why. */
void call(String subject, Closure body) {
    try {
        body()
    } catch (failure) {
        explain(subject, failure, '')
        throw failure
    }
}

/** Writes what became of the subject into name and description; facts that the description has already stay. */
void say(String subject, String outcome, List<String> facts = []) {
    // Jenkins keeps both with the build: they survive a restart of the controller.
    currentBuild.displayName = named(env.BUILD_NUMBER, subject, outcome)
    currentBuild.description = described(subject, outcome, facts, currentBuild.description ?: '')
}

/** Says what the build is for, once that is done: what fails after it does not undo it, and does not hide it. */
void done(String subject, String outcome, List<String> facts = []) {
    say(subject, outcome, facts)
    env.JENKINS_RELEASE_DONE = outcome
}

/** Says why a stage failed or was interrupted, unless that has been said; late is why nobody may have answered. */
void explain(String subject, Object failure, String late) {
    if (env.JENKINS_RELEASE_EXPLAINED) {
        return
    }
    env.JENKINS_RELEASE_EXPLAINED = 'true'
    if (failure instanceof InterruptedException) {
        say(subject, afterwards(interruption(failure, late)))
    } else {
        List<String> lines = linesOf(failure.message?.trim() ?: failure.toString())
        say(subject, afterwards(reasonOf(lines)), behindFirst(lines))
    }
}

/** For the end of a pipeline: why an agent or a checkout failed, outside of a stage's body, is in the console. */
void ended(String subject, String how) {
    if (!env.JENKINS_RELEASE_EXPLAINED) {
        say(subject, afterwards(how + ', see the console'))
    }
}

/** Keeps the build and what it archived: what was released has to be explained for as long as customers have it. */
void keep() {
    currentBuild.keepLog = true
}

/** Untrusted text as one line that is no markup: the formatter of Jenkins' descriptions may be one for HTML. */
@NonCPS
String shown(String text) {
    return text.replaceAll('[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}]+', ' ').replace('<', '\u2039').replace('>', '\u203a')
        .replace('&', '\uff06').trim()
}

/** An outcome behind the one that stays, such as 'promoted, then failed: ...'. */
private String afterwards(String outcome) {
    return env.JENKINS_RELEASE_DONE ? env.JENKINS_RELEASE_DONE + ', then ' + outcome : outcome
}

/** Lists show a name whole, and a form takes any text. */
@NonCPS
private String named(String number, String subject, String outcome) {
    return cut(shown('#' + number + ' ' + (subject ? cut(subject, 100) + ' ' : '') + outcome), 250)
}

@NonCPS
private String described(String subject, String outcome, List<String> facts, String before) {
    List<String> all = [cut(shown((subject ? cut(subject, 100) + ' ' : '') + outcome), 250)]
    for (fact in facts) {
        all << ('- ' + cut(shown(cut(fact, 2000)), 500))
    }
    for (line in before.tokenize('\n')) {
        if (line.startsWith('- ') && !all.contains(line)) {
            all << line
        }
    }
    // The console has all of it; Jenkins shows a description wherever it shows the build.
    List<String> lines = []
    for (int i = 0; i < all.size() && i < 50; i++) {
        lines << (i == 49 && all.size() > 50 ? '- and more, see the console' : all[i])
    }
    return lines.join('\n')
}

/** The lines of a failure without their marks. */
@NonCPS
private List<String> linesOf(String message) {
    List<String> found = []
    for (line in message.tokenize('\n')) {
        found << (line.startsWith('  - ') ? line.substring(4) : line)
    }
    return found
}

@NonCPS
private List<String> behindFirst(List<String> lines) {
    List<String> found = []
    for (int i = 1; i < lines.size(); i++) {
        found << lines[i]
    }
    return found
}

/** A failure in a few words: of a refusal the reason, of anything else what the first line says. */
@NonCPS
private String reasonOf(List<String> lines) {
    String head = lines[0]
    String category = head.contains(': ') ? head.substring(0, head.indexOf(': ')) : ''
    if (!(category in ['configuration', 'refused', 'integrity', 'remote', 'lease', 'interrupted', 'bug'])) {
        return shortened('failed: ' + head)
    }
    if (category != 'refused') {
        return shortened(head)
    }
    String reason = head.substring(head.lastIndexOf(': ') + 2)
    if (reason.matches('\\d+ conditions? not met') && lines.size() > 1) {
        reason = lines[1].replaceAll(' \\[[a-z-]+: .*', '')
    }
    return shortened('refused: ' + reason)
}

@NonCPS
private String shortened(String text) {
    return cut(text, 80)
}

@NonCPS
private String cut(String text, int most) {
    return text.length() > most ? text.substring(0, most - 3).trim() + '...' : text
}

/** Who or what interrupted a build. The script sandbox, in which the library of a folder runs, does not tell. */
@NonCPS
private String interruption(Object failure, String late) {
    String unknown = late ? 'aborted, or ' + late : 'aborted'
    try {
        for (cause in failure.causes) {
            String kind = cause.getClass().simpleName
            if (kind == 'ExceededTimeout') {
                return late ?: 'not finished in time'
            }
            // A timeout is a rejection by the system for input steps before version 2.9.
            String who = kind in ['Rejection', 'UserInterruption'] ? cause.user?.id : ''
            if (who && who != 'SYSTEM') {
                return (kind == 'Rejection' ? 'rejected by ' : 'aborted by ') + who
            }
        }
    } catch (SecurityException refused) {
        return unknown
    }
    return unknown
}
