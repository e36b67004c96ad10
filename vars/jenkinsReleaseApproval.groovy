// Internal: what the pipelines that ask for an approval share. See jenkinsReleaseApproval.txt.
import com.cloudbees.groovy.cps.NonCPS

/** The ids for one step: those of the kinds that are given, and key and passphrase of one role. */
Map credentialsFor(Map credentials, List<String> kinds, String role) {
    Map found = [:]
    for (kind in kinds) {
        if (credentials[kind]) {
            found[kind] = credentials[kind]
        }
    }
    if (role && credentials[role + 'Key']) {
        found.key = credentials[role + 'Key']
        found.passphrase = credentials[role + 'Passphrase']
    }
    return found
}

/** The ids for a step that changes nothing in the registry, with the AWS key that may only read there. */
Map reading(Map credentials, String role) {
    Map found = credentialsFor(credentials, ['smb', 'mail', 'webhook'], role)
    if (credentials.awsRead) {
        found.aws = credentials.awsRead
    }
    return found
}

/** Refuses one label for two stages: whoever runs code on an agent could read the keys of both. */
void requireApart(String step, Map given) {
    List<String> labels = [given.labels.plan, given.labels.approve, given.labels.promote]
    for (label in labels) {
        if (labels.count(label) > 1) {
            error 'configuration: ' + step + ' cannot run with these labels\n' +
                '  - labels: ' + label + ' is the label of two stages\n' +
                'hint: each stage binds keys that the others must not have; ' + step + '.txt describes the labels'
        }
    }
}

/** What is recorded with the approval. */
String reason() {
    return params.REASON + (params.TICKET ? ' [' + params.TICKET + ']' : '')
}

/** What a build is about; empty before anybody has filled in the form. */
String candidate() {
    return params.VERSION && params.BUILD ? params.VERSION + '/' + params.BUILD : ''
}

/** Plans, shows the plan, and fails if the question needs something that is missing. env.DECIDED: whether to ask. */
void prepare(Map given, boolean publishes, List<String> wrong) {
    jenkinsReleaseForm.require(['VERSION', 'BUILD'], wrong)
    Map plan = planPromotion(version: params.VERSION, build: params.BUILD, config: given.config, plan: 'plan.json',
        page: 'plan.html', checks: 'checks.xml', credentials: reading(given.credentials, 'request'))
    archiveArtifacts artifacts: 'plan.json, plan.html, plan.css', fingerprint: true
    // What shuts the gate fails the stage below, with its reasons.
    junit testResults: 'checks.xml', skipMarkingBuildUnstable: true, checksName: 'Release gate, plan'
    stash name: 'plan', includes: 'plan.json'
    String decided = decision(plan, publishes)
    String fact = given.product + ' ' + candidate() + ' to ' + (publishes ? plan.release_area : plan.registry) +
        ', plan ' + plan.planDigest
    jenkinsReleaseOutcome.say(candidate(), params.DRY_RUN ? 'plan only' : decided ? 'planned' : 'waits for approval',
        decided ? [fact, decided + ': nobody is asked'] : [fact])
    // What was done before needs no question.
    boolean done = publishes ? plan.published : plan.promoted
    List<Map> lacking = done ? [] : missing(plan, !params.DRY_RUN && !decided)
    if (lacking) {
        error refusal(lacking)
    }
    env.QUESTION = plan.question
    env.DECIDED = decided ?: 'no'
}

/** Asks for the approval of the stashed plan, and records it. Outside any node: waiting holds no executor. */
void ask(Map given, String doing) {
    String late = 'nobody answered in ' + given.approvalDays + ' days'
    String approver = ''
    try {
        approver = input(message: question(doing + ' ' + given.product + ' ' + candidate()), ok: 'Approve',
            submitter: given.submitter, submitterParameter: 'APPROVER')
    } catch (InterruptedException failure) {
        jenkinsReleaseOutcome.explain(candidate(), failure, late)
        throw failure
    }
    node(given.labels.approve) {
        checkout scm
        unstash 'plan'
        approvePromotion plan: 'plan.json', approver: approver, reason: reason(), report: 'approval.json',
            config: given.config, credentials: reading(given.credentials, 'approval')
        archiveArtifacts artifacts: 'approval.json', fingerprint: true
    }
    jenkinsReleaseOutcome.say(candidate(), 'approved', ['approved by ' + approver])
}

/** Why nobody has to be asked; empty if somebody has to. */
private String decision(Map plan, boolean publishes) {
    if (publishes ? plan.published : plan.promoted) {
        return publishes ? 'published before' : 'promoted before'
    }
    List<String> approvals = []
    for (each in plan.gate.approvals) {
        approvals << each.approver + ' (' + each.file + ')'
    }
    if (plan.gate.open && approvals) {
        return 'already approved by ' + approvals.join(', ')
    }
    // A policy that asks for no approval: only the promote job leaves the answer to Jenkins' submitter.
    return plan.gate.open && publishes ? 'the policy asks for no approval' : ''
}

/** What an approver has to know: sentences, because a page may join the lines. Text of the form is between quotes. */
private String question(String what) {
    List<String> lines = [what + '?']
    lines.addAll(env.QUESTION.tokenize('\n'))
    lines << 'Reason: ' + quoted(params.REASON)
    if (params.TICKET) {
        lines << 'Ticket: ' + quoted(params.TICKET)
    }
    lines << 'The whole plan: ' + (env.BUILD_URL ? env.BUILD_URL + 'artifact/plan.html' : 'plan.html of this build')
    List<String> shown = []
    for (line in lines) {
        shown << jenkinsReleaseOutcome.shown(line)
    }
    return shown.join('\n')
}

private String quoted(String text) {
    return '"' + text.replace('"', "'") + '".'
}

/** What has to be fixed before the question, if there is one: in a few words, and as a sentence. */
private List<Map> missing(Map plan, boolean asks) {
    List<Map> found = []
    for (line in plan.gate.altered) {
        found << [brief: 'something was altered', message: line]
    }
    if (!plan.gate.open) {
        // Tags that are taken, and what the configuration or registry does not allow: no approval counts then.
        for (line in plan.occupied) {
            found << [brief: 'a tag is taken', message: line]
        }
        for (line in plan.obstacles) {
            found << [brief: 'the plan cannot be carried out', message: line]
        }
    }
    for (reason in plan.gate.unmet) {
        // The answer settles the approvals.
        if (!(reason.condition in ['approvals', 'separation'])) {
            found << [brief: reason.brief, message: reason.message]
        }
    }
    if (asks && !params.REASON?.trim()) {
        found << [brief: 'REASON is missing', message: 'REASON has to say why']
    }
    if (asks && !startedByPerson(currentBuild)) {
        found << [brief: 'no person started it',
            message: 'a person has to start this job: the approver must be someone else']
    }
    return found
}

@NonCPS
private String refusal(List<Map> missing) {
    List<String> briefs = []
    List<String> messages = []
    for (each in missing) {
        briefs << each.brief
        messages << each.message
    }
    return 'refused: approval cannot be requested yet: ' + briefs.unique().join(', ') + '\n  - ' +
        messages.join('\n  - ')
}

private boolean startedByPerson(Object build) {
    return build.getBuildCauses('hudson.model.Cause$UserIdCause') as boolean
}
