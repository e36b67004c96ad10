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
        parameters {
            string(name: 'VERSION', description: 'Product version, such as 8.1.0')
            string(name: 'BUILD', description: 'Build that QA signed off, such as 42')
            string(name: 'REASON', description: 'Why it goes out; recorded with the approval')
            string(name: 'TICKET', description: 'Ticket of the release; recorded with the reason')
            booleanParam(name: 'DRY_RUN', defaultValue: false, description: 'Plan only')
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
                    expression { !params.DRY_RUN && env.APPROVED != 'true' }
                }
                options {
                    timeout(time: days, unit: 'DAYS')
                }
                steps {
                    script {
                        if (!env.APPROVED) { // restarted from here: ask about the plan as it is now
                            node(given.labels.plan) {
                                checkout scm
                                preparePlan(given)
                            }
                        }
                        if (env.APPROVED == 'true') {
                            echo 'The plan is already approved, or published: no approval is needed.'
                        } else {
                            jenkinsReleaseApproval.ask(given, 'Publish ' + given.product + ' ' + candidate())
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
                        jenkinsReleaseApproval.describe(given.product + ' ' + candidate() + ', without a new plan')
                        if (prepare) {
                            prepare()
                        }
                        Map publication = publishRelease(version: params.VERSION, build: params.BUILD,
                            setupZip: given.setupZip, report: 'publication.json', config: given.config,
                            credentials: jenkinsReleaseApproval.reading(given.credentials, 'promotion'))
                        if (!publication.changed) {
                            currentBuild.description += ', nothing to do: it was published before'
                        }
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

private String candidate() {
    return params.VERSION + '/' + params.BUILD
}

/** Plans, and fails if something is missing that the question needs. */
private void preparePlan(Map given) {
    jenkinsReleaseForm.require(['VERSION', 'BUILD'], [])
    Map plan = planPromotion(version: params.VERSION, build: params.BUILD, plan: 'plan.json', config: given.config,
        credentials: jenkinsReleaseApproval.reading(given.credentials, 'request'))
    archiveArtifacts artifacts: 'plan.json'
    stash name: 'plan', includes: 'plan.json'
    currentBuild.description = given.product + ' ' + candidate() + ' to ' + plan.release_area +
        ', plan ' + plan.planDigest
    // What was done before needs no question.
    List<String> missing = plan.published ? [] :
        jenkinsReleaseApproval.missing(plan, !params.DRY_RUN && !plan.gate.open)
    if (missing) {
        error 'refused: approval cannot be requested yet\n  - ' + missing.join('\n  - ')
    }
    // An approval of the promotion covers the publication too: both are in the plan.
    env.APPROVED = (plan.gate.open || plan.published) as String
}
