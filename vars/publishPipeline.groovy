// The publish job of a product as one step: plan, ask where nobody approved yet, publish. See publishPipeline.txt.
void call(Map arguments = [:], Closure prepare = null) {
    Map given = jenkinsReleaseArguments('publishPipeline', arguments, [
        product: null,           // product name, as in release.toml
        submitter: null,         // who may answer in Jenkins: user ids and groups, separated by commas
        label: 'docker',         // label of the agents
        config: 'release.toml',  // relative to the workspace
        setupZip: '',            // zip with which customers deploy the images, which the body makes
        approvalDays: 3,         // how long the question stays
        lock: '',                // resource that publications share; 'publish-' and the product by default
        credentials: [:],        // credentials ids, of these kinds
    ], ['smb', 'aws', 'approvalKey', 'approvalPassphrase', 'promotionKey', 'promotionPassphrase', 'mail', 'webhook'])
    String resource = given.lock ?: 'publish-' + given.product
    int days = given.approvalDays as int
    pipeline {
        agent none
        options {
            preserveStashes()
        }
        parameters {
            string(name: 'VERSION', description: 'Product version, such as 8.1.0')
            string(name: 'BUILD', description: 'Build that QA signed off, such as 42')
            string(name: 'REASON', description: 'Why it goes out; recorded with the approval')
            string(name: 'TICKET', description: 'Ticket of the release; recorded with the reason')
            booleanParam(name: 'DRY_RUN', defaultValue: false, description: 'Plan only')
        }
        stages {
            stage('Plan') {
                agent { label given.label }
                steps {
                    script {
                        Map plan = planPromotion(version: params.VERSION, build: params.BUILD, plan: 'plan.json',
                            config: given.config, credentials: credentialsFor(given, ''))
                        archiveArtifacts artifacts: 'plan.json'
                        stash name: 'plan', includes: 'plan.json'
                        currentBuild.description = given.product + ' ' + params.VERSION + '/' + params.BUILD + ' to ' +
                            plan.release_area + ', plan ' + plan.planDigest
                        List<String> missing = jenkinsReleaseApproval.missing(plan.gate)
                        if (missing) {
                            error 'refused: nobody is asked for approval yet\n  - ' + missing.join('\n  - ')
                        }
                        // An approval of the promotion is one of the publication too: both are in the plan.
                        env.APPROVED = plan.gate.open as String
                    }
                }
            }
            stage('Approve') {
                when {
                    beforeOptions true
                    expression { !params.DRY_RUN && env.APPROVED != 'true' }
                }
                options {
                    timeout(time: days, unit: 'DAYS')
                }
                input { // is answered before the agent is taken
                    message 'Publish ' + given.product + ' ' + params.VERSION + '/' + params.BUILD + '? Reason: ' +
                        params.REASON + '. The plan is in plan.json.'
                    ok 'Approve'
                    submitter given.submitter
                    submitterParameter 'APPROVER'
                }
                agent { label given.label }
                steps {
                    script {
                        unstash 'plan'
                        approvePromotion plan: 'plan.json', approver: env.APPROVER,
                            reason: jenkinsReleaseApproval.reason(), report: 'approval.json',
                            config: given.config, credentials: credentialsFor(given, 'approval')
                        archiveArtifacts artifacts: 'approval.json'
                    }
                }
            }
            stage('Publish') {
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
                        if (prepare) {
                            prepare()
                        }
                        publishRelease version: params.VERSION, build: params.BUILD, setupZip: given.setupZip,
                            report: 'publication.json', config: given.config,
                            credentials: credentialsFor(given, 'promotion')
                        releaseHistory version: params.VERSION, page: 'history.txt', config: given.config,
                            credentials: jenkinsReleaseApproval.credentialsFor(given.credentials, ['smb'], '')
                        archiveArtifacts artifacts: 'publication.json'
                        archiveArtifacts artifacts: 'history.txt'
                    }
                }
            }
        }
    }
}

private Map credentialsFor(Map given, String role) {
    return jenkinsReleaseApproval.credentialsFor(given.credentials, ['smb', 'aws', 'mail', 'webhook'], role)
}
