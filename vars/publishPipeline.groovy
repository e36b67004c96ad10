// The publish job of a product as one step: plan, ask if it is not approved yet, publish. See publishPipeline.txt.
void call(Map arguments = [:], Closure prepare = null) {
    Map given = jenkinsReleaseArguments('publishPipeline', arguments, [
        product: null,           // product name, as in release.toml
        submitter: null,         // who may answer in Jenkins: user ids and groups, separated by commas
        labels: [plan: 'release-plan', approve: 'release-approve', promote: 'release-promote'], // of the agents
        config: 'release.toml',  // relative to the workspace
        setupZip: '',            // zip with which customers deploy the images, which the body makes
        approvalDays: 3,         // how long the question stays
        lock: '',                // resource that publications share; 'publish-' and the product by default
        credentials: [:],        // credentials ids, of these kinds
    ], ['smb', 'awsRead', 'requestKey', 'requestPassphrase', 'approvalKey', 'approvalPassphrase',
        'promotionKey', 'promotionPassphrase', 'mail', 'webhook'])
    jenkinsReleaseApproval.requireApart('publishPipeline', given)
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
        }
        stages {
            stage('Plan') {
                agent { label given.labels.plan }
                steps {
                    script {
                        jenkinsReleaseOutcome(jenkinsReleaseApproval.candidate()) {
                            jenkinsReleaseApproval.prepare(given, true, [])
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
                                    jenkinsReleaseApproval.prepare(given, true, [])
                                }
                            }
                            if (env.DECIDED == 'no') {
                                jenkinsReleaseApproval.ask(given, 'Publish')
                            }
                        }
                    }
                }
            }
            stage('Publish') {
                when {
                    beforeOptions true
                    expression { !params.DRY_RUN }
                }
                options {
                    lock(resource: given.lock ?: 'publish-' + given.product)
                }
                agent { label given.labels.promote }
                steps {
                    script {
                        jenkinsReleaseOutcome(jenkinsReleaseApproval.candidate()) {
                            publish(given, prepare)
                        }
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

private void publish(Map given, Closure prepare) {
    String candidate = jenkinsReleaseApproval.candidate()
    jenkinsReleaseOutcome.say(candidate, 'being published',
        currentBuild.description ? [] : [given.product + ' ' + candidate + ', without a new plan'])
    if (prepare) {
        prepare()
    }
    Map publication = publishRelease(version: params.VERSION, build: params.BUILD, setupZip: given.setupZip,
        report: 'publication.json', config: given.config,
        credentials: jenkinsReleaseApproval.reading(given.credentials, 'promotion'))
    // Also what was published before: the build that did it may have been killed before it could keep itself.
    jenkinsReleaseOutcome.keep()
    jenkinsReleaseOutcome.done(candidate, publication.changed ? 'published' : 'was published before, nothing to do')
    archiveArtifacts artifacts: 'publication.json', fingerprint: true
    releaseHistory version: params.VERSION, page: 'history.txt', config: given.config,
        credentials: jenkinsReleaseApproval.credentialsFor(given.credentials, ['smb'], '')
    archiveArtifacts artifacts: 'history.txt', fingerprint: true
}
