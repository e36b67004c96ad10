// The job of support and DevOps for customers' access as one step. See customerAccessPipeline.txt.
void call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('customerAccessPipeline', arguments, [
        submitter: null,         // who may let a change happen: user ids and groups, separated by commas
        label: 'docker',         // label of the agents
        config: 'release.toml',  // relative to the workspace
        approvalDays: 3,         // how long the question stays
        lock: 'customer-access', // resource that changes share
        credentials: [:],        // ids: aws
    ], ['aws'])
    int days = given.approvalDays as int
    pipeline {
        agent none
        parameters {
            choice(name: 'ACTION', choices: ['doctor', 'list', 'audit', 'issue', 'rotate', 'revoke'], description: 'What to do')
            string(name: 'CUSTOMER', description: 'Customer, such as ACME; empty for list and audit')
            string(name: 'TICKET', description: 'Ticket that asks for the access, for issue')
            string(name: 'REASON', description: 'Why, for revoke')
            string(name: 'SECRET', description: 'Secret in AWS Secrets Manager that gets the key')
            string(name: 'RECIPIENT', description: 'Or the public key that a hand-over file is encrypted for: age1...')
        }
        stages {
            stage('Look') {
                agent { label given.label }
                steps {
                    script {
                        currentBuild.description = params.ACTION + ' ' + params.CUSTOMER
                        customerAccess(asked(given, true))
                        archiveArtifacts artifacts: 'access.json'
                    }
                }
            }
            stage('Change') {
                when {
                    beforeOptions true
                    expression { params.ACTION in ['issue', 'rotate', 'revoke'] }
                }
                options {
                    timeout(time: days, unit: 'DAYS')
                    lock(resource: given.lock)
                }
                input { // is answered before the agent is taken
                    message params.ACTION + ' the access of ' + params.CUSTOMER + '? What will be done is in the log.'
                    ok 'Do it'
                    submitter given.submitter
                }
                agent { label given.label }
                steps {
                    script {
                        customerAccess(asked(given, false))
                        archiveArtifacts artifacts: 'access.json'
                        if (params.RECIPIENT && params.ACTION != 'revoke') {
                            archiveArtifacts artifacts: 'handover/', allowEmptyArchive: true
                        }
                    }
                }
            }
        }
    }
}

private Map asked(Map given, boolean look) {
    Map all = [
        action: params.ACTION, customer: params.CUSTOMER, config: given.config, credentials: given.credentials,
        report: 'access.json', dryRun: look && params.ACTION in ['issue', 'rotate', 'revoke'],
    ]
    if (params.ACTION == 'issue') {
        all.ticket = params.TICKET
    }
    if (params.ACTION == 'revoke') {
        all.reason = params.REASON
    }
    if (params.ACTION in ['issue', 'rotate']) {
        all.secret = params.SECRET
        all.recipient = params.RECIPIENT
        all.folder = params.RECIPIENT ? 'handover' : ''
    }
    return all
}
