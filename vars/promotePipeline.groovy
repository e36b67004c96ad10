// The promote job of a product as one step: plan, ask, record the answer, promote. See promotePipeline.txt.
void call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('promotePipeline', arguments, [
        product: null,           // product name, as in release.toml
        submitter: null,         // who may answer in Jenkins: user ids and groups, separated by commas
        labels: [plan: 'release-plan', approve: 'release-approve', promote: 'release-promote'], // of the agents
        config: 'release.toml',  // relative to the workspace
        approvalDays: 3,         // how long the question stays
        lock: '',                // resource that promotions share; 'promote-' and the product by default
        credentials: [:],        // credentials ids, of these kinds
    ], ['smb', 'awsRead', 'aws', 'requestKey', 'requestPassphrase', 'approvalKey', 'approvalPassphrase',
        'promotionKey', 'promotionPassphrase', 'mail', 'webhook'])
    jenkinsReleaseApproval.requireApart('promotePipeline', given)
    int days = given.approvalDays as int
    pipeline {
        agent none
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
                agent { label given.labels.plan }
                steps {
                    script {
                        preparePlan(given)
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
                steps {
                    script {
                        if (!env.PLAN_DIGEST) { // restarted from here: ask about the plan as it is now
                            node(given.labels.plan) {
                                checkout scm
                                preparePlan(given)
                            }
                        }
                        if (env.PROMOTED == 'true') {
                            echo 'It was promoted before: no approval is needed.'
                        } else {
                            jenkinsReleaseApproval.ask(given, 'Promote ' + given.product + ' ' + candidate())
                        }
                    }
                }
            }
            stage('Promote') {
                when {
                    beforeOptions true
                    expression { !params.DRY_RUN }
                }
                options {
                    lock(resource: given.lock ?: 'promote-' + given.product)
                }
                agent { label given.labels.promote }
                steps {
                    script {
                        jenkinsReleaseApproval.describe(given.product + ' ' + candidate() + ', without a new plan')
                        Map promotion = promoteCandidate(version: params.VERSION, build: params.BUILD,
                            report: 'promotion.json', checks: 'checks.xml', config: given.config,
                            credentials: jenkinsReleaseApproval.credentialsFor(given.credentials,
                                ['smb', 'aws', 'mail', 'webhook'], 'promotion'))
                        if (!promotion.changed) {
                            currentBuild.description += ', nothing to do: it was promoted before'
                        }
                        releaseHistory version: params.VERSION, page: 'history.txt', config: given.config,
                            credentials: jenkinsReleaseApproval.credentialsFor(given.credentials, ['smb'], '')
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

private String candidate() {
    return params.VERSION + '/' + params.BUILD
}

/** Plans, and fails if something is missing that the question needs. */
private void preparePlan(Map given) {
    jenkinsReleaseForm.require(['VERSION', 'BUILD'], params.PRODUCT && params.PRODUCT != given.product ?
        ['PRODUCT is ' + params.PRODUCT + ', but this job promotes ' + given.product] : [])
    Map plan = planPromotion(version: params.VERSION, build: params.BUILD, plan: 'plan.json', config: given.config,
        credentials: jenkinsReleaseApproval.reading(given.credentials, 'request'))
    archiveArtifacts artifacts: 'plan.json'
    stash name: 'plan', includes: 'plan.json'
    currentBuild.description = given.product + ' ' + candidate() + ' to ' + plan.registry + ', plan ' + plan.planDigest
    // What was done before needs no question.
    List<String> missing = plan.promoted ? [] : jenkinsReleaseApproval.missing(plan, !params.DRY_RUN)
    if (missing) {
        error 'refused: approval cannot be requested yet\n  - ' + missing.join('\n  - ')
    }
    env.PLAN_DIGEST = plan.planDigest
    env.PROMOTED = plan.promoted as String
}
