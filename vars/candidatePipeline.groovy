// A product's build job as one step: build, export the candidate, tell QA. See candidatePipeline.txt.
void call(Map arguments = [:], Closure build) {
    Map given = jenkinsReleaseArguments('candidatePipeline', arguments, [
        version: null,           // product version, such as '8.1.0'
        label: 'docker',         // label of the agents
        config: 'release.toml',  // relative to the workspace
        timeoutHours: 2,         // longest time of a build
        notify: '',              // mail addresses of QA, separated by commas
        credentials: [:],        // ids: smb, key, passphrase, mail, webhook
    ], ['smb', 'key', 'passphrase', 'mail', 'webhook'])
    int hours = given.timeoutHours as int
    pipeline {
        agent { label given.label }
        options {
            disableConcurrentBuilds()
            timeout(time: hours, unit: 'HOURS')
        }
        stages {
            stage('Build') {
                steps {
                    script {
                        build()
                    }
                }
            }
            stage('Export candidate') {
                steps {
                    script {
                        Map candidate = exportCandidate(version: given.version, config: given.config,
                            report: 'candidate.json', credentials: given.credentials)
                        currentBuild.description = candidate.product + ' ' + candidate.candidate + ', ' + candidate.digest
                        archiveArtifacts artifacts: 'candidate.json'
                        tell(given.notify, candidate)
                    }
                }
            }
        }
    }
}

/** A mail that cannot be sent is no reason to fail: the candidate is on the share. */
private void tell(String addresses, Map candidate) {
    if (!addresses) {
        return
    }
    String name = candidate.product + ' ' + candidate.candidate
    try {
        mail to: addresses, subject: name + ' is ready to be tested',
            body: name + ' is on the share: ' + candidate.location + '\ncandidate.json ' + candidate.digest + '\n' + env.BUILD_URL
    } catch (error) {
        echo 'QA could not be told: ' + error.message
    }
}
