// The promote job of a product as one step: plan, ask, record the answer, promote. See promotePipeline.txt.
void call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('promotePipeline', arguments, [
        product: null,           // product name, as in release.toml
        submitter: null,         // who may answer in Jenkins: user ids and groups, separated by commas
        label: 'docker',         // label of the agents
        config: 'release.toml',  // relative to the workspace
        approvalDays: 3,         // how long the question stays
        lock: '',                // resource that promotions share; 'promote-' and the product by default
        credentials: [:],        // ids: smb, aws, approvalKey, approvalPassphrase, promotionKey, promotionPassphrase, mail, webhook
    ], ['smb', 'aws', 'approvalKey', 'approvalPassphrase', 'promotionKey', 'promotionPassphrase', 'mail', 'webhook'])
    String resource = given.lock ?: 'promote-' + given.product
    int days = given.approvalDays as int
    pipeline {
        agent none
        options {
            preserveStashes()
        }
        parameters {
            string(name: 'PRODUCT', description: 'Product; empty for the one of this job')
            string(name: 'VERSION', description: 'Product version, such as 8.1.0')
            string(name: 'BUILD', description: 'Build that QA signed off, such as 42')
            string(name: 'REASON', description: 'Why it goes out; recorded with the approval')
            string(name: 'TICKET', description: 'Ticket of the release; recorded with the reason')
            booleanParam(name: 'DRY_RUN', defaultValue: false, description: 'Plan only')
            string(name: 'REQUEST_ID', description: 'Filled in by promote launch; leave it empty')
        }
        stages {
            stage('Plan') {
                agent { label given.label }
                steps {
                    script {
                        Map plan = planPromotion(version: params.VERSION, build: params.BUILD, plan: 'plan.json',
                            config: given.config, credentials: credentialsFor(given, ['smb', 'aws', 'mail', 'webhook'], ''))
                        archiveArtifacts artifacts: 'plan.json'
                        stash name: 'plan', includes: 'plan.json'
                        currentBuild.description = describe(given, plan)
                        List<String> missing = missingFor(given, plan.gate, startedByPerson(currentBuild))
                        if (missing) {
                            error 'refused: nobody is asked for approval yet\n  - ' + missing.join('\n  - ')
                        }
                    }
                }
            }
            stage('Approve') {
                when {
                    beforeOptions true
                    expression { !params.DRY_RUN }
                }
                options {
                    timeout(time: days, unit: 'DAYS')
                }
                input { // is answered before the agent is taken
                    message 'Promote ' + given.product + ' ' + params.VERSION + '/' + params.BUILD + '? Reason: ' + params.REASON + '. The plan is in plan.json.'
                    ok 'Approve'
                    submitter given.submitter
                    submitterParameter 'APPROVER'
                }
                agent { label given.label }
                steps {
                    script {
                        unstash 'plan'
                        approvePromotion plan: 'plan.json', approver: env.APPROVER, reason: reason(), report: 'approval.json',
                            config: given.config, credentials: credentialsFor(given, ['smb', 'aws', 'mail', 'webhook'], 'approval')
                        archiveArtifacts artifacts: 'approval.json'
                    }
                }
            }
            stage('Promote') {
                when {
                    beforeOptions true
                    expression { !params.DRY_RUN }
                }
                options {
                    lock(resource: resource)
                }
                agent { label given.label }
                steps {
                    script {
                        promoteCandidate version: params.VERSION, build: params.BUILD, report: 'promotion.json',
                            checks: 'checks.xml', config: given.config,
                            credentials: credentialsFor(given, ['smb', 'aws', 'mail', 'webhook'], 'promotion')
                        releaseHistory version: params.VERSION, page: 'history.txt', config: given.config,
                            credentials: credentialsFor(given, ['smb'], '')
                        archiveArtifacts artifacts: 'promotion.json'
                        archiveArtifacts artifacts: 'history.txt'
                    }
                }
                post {
                    always {
                        junit testResults: 'checks.xml', allowEmptyResults: true
                    }
                }
            }
        }
    }
}

/** The ids for one step: those of the kinds that are given, and key and passphrase of one role. */
private Map credentialsFor(Map given, List<String> kinds, String role) {
    Map found = [:]
    for (kind in kinds) {
        if (given.credentials[kind]) {
            found[kind] = given.credentials[kind]
        }
    }
    if (role) {
        found.key = given.credentials[role + 'Key']
        found.passphrase = given.credentials[role + 'Passphrase']
    }
    return found
}

private String candidate() {
    return params.VERSION + '/' + params.BUILD
}

private String reason() {
    return params.REASON + (params.TICKET ? ' [' + params.TICKET + ']' : '')
}

private String describe(Map given, Map plan) {
    return given.product + ' ' + candidate() + ' to ' + plan.registry + ', plan ' + plan.planDigest
}

private boolean startedByPerson(build) {
    return build.getBuildCauses('hudson.model.Cause$UserIdCause') as boolean
}

/** What has to be mended before anybody is asked; approvals are settled by the answer. */
private List<String> missingFor(Map given, Map gate, boolean person) {
    List<String> missing = []
    missing.addAll(gate.altered)
    for (reason in gate.unmet) {
        if (!(reason.condition in ['approvals', 'separation'])) {
            missing << reason.message
        }
    }
    if (params.PRODUCT && params.PRODUCT != given.product) {
        missing << ('this job promotes ' + given.product + ', not ' + params.PRODUCT)
    }
    if (!params.DRY_RUN && !params.REASON?.trim()) {
        missing << 'REASON has to say why'
    }
    if (!params.DRY_RUN && !person) {
        missing << 'a person has to start this job: the approver must be somebody else'
    }
    return missing
}
