// A product's build job as one step: build, export the candidate, notify QA. See candidatePipeline.txt.
void call(Map arguments = [:], Closure build) {
    Map given = jenkinsReleaseArguments('candidatePipeline', arguments, [
        version: null,           // product version, such as '8.1.0'
        label: 'docker',         // label of the agents
        config: 'release.toml',  // relative to the workspace
        from: '',                // folder of the build's output; '' is the workspace
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
                        Map candidate = exportCandidate(version: given.version, from: given.from, config: given.config,
                            report: 'candidate.json', credentials: given.credentials)
                        currentBuild.description = nameOf(candidate) + ', ' + candidate.digest
                        archiveArtifacts artifacts: 'candidate.json'
                        tell(given.notify, candidate)
                    }
                }
            }
        }
    }
}

private String nameOf(Map candidate) {
    return candidate.product + ' ' + candidate.candidate
}

/** A mail that cannot be sent must not fail the build: the candidate is on the share. */
private void tell(String addresses, Map candidate) {
    if (!addresses) {
        return
    }
    List<String> lines = [
        nameOf(candidate) + ' is on the share: ' + candidate.location,
        'candidate.json ' + candidate.digest,
        env.BUILD_URL,
    ]
    try {
        mail to: addresses, subject: nameOf(candidate) + ' is ready to be tested', body: lines.join('\n')
    } catch (error) {
        echo 'QA could not be told: ' + (error.message ?: 'no reason given').split('\n')[0]
    }
}
