// QA's job as one step: load the candidate, test it, ask for the verdict, sign it. See qaPipeline.txt.
void call(Map arguments = [:], Closure test) {
    Map given = jenkinsReleaseArguments('qaPipeline', arguments, [
        submitter: null,         // who may give the verdict: user ids and groups, separated by commas
        results: 'junit.xml',    // JUnit report that the tests write
        label: 'docker',         // label of the agents
        config: 'release.toml',  // relative to the workspace
        verdictDays: 7,          // how long the question stays
        credentials: [:],        // ids: smb, key, passphrase, mail, webhook
    ], ['smb', 'key', 'passphrase', 'mail', 'webhook'])
    int days = given.verdictDays as int
    pipeline {
        agent none
        options {
            preserveStashes()
        }
        parameters {
            string(name: 'VERSION', description: 'Product version, such as 8.1.0')
            string(name: 'BUILD', description: 'Build to test, such as 42')
        }
        stages {
            stage('Test') {
                agent { label given.label }
                steps {
                    script {
                        currentBuild.description = params.VERSION + '/' + params.BUILD
                        loadCandidate version: params.VERSION, build: params.BUILD, config: given.config,
                            credentials: [smb: given.credentials.smb]
                        test()
                        stash name: 'results', includes: given.results
                    }
                }
                post {
                    always {
                        junit testResults: given.results, allowEmptyResults: true
                    }
                }
            }
            stage('Sign off') {
                options {
                    timeout(time: days, unit: 'DAYS')
                }
                input { // is answered before the agent is taken
                    message 'The verdict on ' + params.VERSION + '/' + params.BUILD
                    ok 'Sign'
                    submitter given.submitter
                    submitterParameter 'TESTER'
                    parameters {
                        choice(name: 'VERDICT', choices: ['fail', 'pass'], description: 'May it be released?')
                        string(name: 'NOTE', description: 'Remark for the record')
                        string(name: 'ACCEPT_FAILURES', description: 'Why it passes although tests failed')
                    }
                }
                agent { label given.label }
                steps {
                    script {
                        unstash 'results'
                        qaSignOff version: params.VERSION, build: params.BUILD, verdict: env.VERDICT, tester: env.TESTER,
                            results: given.results, note: env.NOTE, acceptFailures: env.ACCEPT_FAILURES,
                            config: given.config, report: 'verdict.json', credentials: given.credentials
                        archiveArtifacts artifacts: 'verdict.json'
                    }
                }
            }
        }
    }
}
