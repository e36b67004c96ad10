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
        options {
            timestamps()
        }
        parameters {
            string(name: 'VERSION', description: 'Required. Product version, such as 8.1.0')
            string(name: 'BUILD', description: 'Required. Build that QA signed off, such as 42')
            string(name: 'REASON', description: 'Required unless already approved. Why it goes out; recorded')
            string(name: 'TICKET', description: 'Ticket of the release; recorded with the reason')
            booleanParam(name: 'DRY_RUN', defaultValue: false, description: 'Plan only')
            string(name: 'PRODUCT', description: 'Internal: a guard against the wrong job, filled in by promote launch')
            string(name: 'REQUEST_ID', description: 'Internal: filled in by promote launch')
        }
        stages {
            stage('Plan') {
                agent { label given.labels.plan }
                steps {
                    script {
                        jenkinsReleaseOutcome(jenkinsReleaseApproval.candidate()) {
                            prepare(given)
                        }
                    }
                }
            }
            stage('Approve') {
                when {
                    beforeOptions true
                    expression { !params.DRY_RUN && (env.DECIDED ?: 'no') == 'no' }
                }
                options {
                    timeout(time: days, unit: 'DAYS')
                }
                steps {
                    script {
                        jenkinsReleaseOutcome(jenkinsReleaseApproval.candidate()) {
                            if (!env.DECIDED) { // restarted from here: ask about the plan as it is now
                                node(given.labels.plan) {
                                    checkout scm
                                    prepare(given)
                                }
                            }
                            if (env.DECIDED == 'no') {
                                jenkinsReleaseApproval.ask(given, 'Promote')
                            }
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
                        jenkinsReleaseOutcome(jenkinsReleaseApproval.candidate()) {
                            promote(given)
                        }
                    }
                }
                post {
                    always {
                        junit testResults: 'checks.xml', allowEmptyResults: true, checksName: 'Release gate'
                    }
                }
            }
        }
        post {
            failure {
                script {
                    jenkinsReleaseOutcome.ended(jenkinsReleaseApproval.candidate(), 'failed')
                }
            }
            aborted {
                script {
                    jenkinsReleaseOutcome.ended(jenkinsReleaseApproval.candidate(), 'aborted')
                }
            }
        }
    }
}

private void prepare(Map given) {
    jenkinsReleaseApproval.prepare(given, false, params.PRODUCT && params.PRODUCT != given.product ?
        ['PRODUCT is ' + params.PRODUCT + ', but this job promotes ' + given.product] : [])
}

private void promote(Map given) {
    String candidate = jenkinsReleaseApproval.candidate()
    jenkinsReleaseOutcome.say(candidate, 'being promoted',
        currentBuild.description ? [] : [given.product + ' ' + candidate + ', without a new plan'])
    Map promotion = promoteCandidate(version: params.VERSION, build: params.BUILD, report: 'promotion.json',
        checks: 'checks.xml', config: given.config,
        credentials: jenkinsReleaseApproval.credentialsFor(given.credentials,
            ['smb', 'aws', 'mail', 'webhook'], 'promotion'))
    // Also what was promoted before: the build that did it may have been killed before it could keep itself.
    jenkinsReleaseOutcome.keep()
    jenkinsReleaseOutcome.done(candidate, promotion.changed ? 'promoted' : 'was promoted before, nothing to do')
    archiveArtifacts artifacts: 'promotion.json', fingerprint: true
    releaseHistory version: params.VERSION, page: 'history.txt', config: given.config,
        credentials: jenkinsReleaseApproval.credentialsFor(given.credentials, ['smb'], '')
    archiveArtifacts artifacts: 'history.txt', fingerprint: true
}
