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
            timestamps()
        }
        stages {
            stage('Build') {
                steps {
                    script {
                        jenkinsReleaseOutcome(candidate(given)) {
                            jenkinsReleaseOutcome.say(candidate(given), 'is built')
                            build()
                        }
                    }
                }
            }
            stage('Export candidate') {
                steps {
                    script {
                        jenkinsReleaseOutcome(candidate(given)) {
                            export(given)
                        }
                    }
                }
            }
        }
        post {
            failure {
                script {
                    jenkinsReleaseOutcome.ended(candidate(given), 'failed')
                }
            }
            aborted {
                script {
                    jenkinsReleaseOutcome.ended(candidate(given), 'aborted')
                }
            }
        }
    }
}

private String candidate(Map given) {
    return given.version + '/' + env.BUILD_NUMBER
}

private void export(Map given) {
    jenkinsReleaseOutcome.say(candidate(given), 'is exported')
    Map exported = exportCandidate(version: given.version, from: given.from, config: given.config,
        report: 'candidate.json', credentials: given.credentials)
    jenkinsReleaseOutcome.done(candidate(given), 'exported', [nameOf(exported) + ', ' + exported.digest])
    archiveArtifacts artifacts: 'candidate.json', fingerprint: true
    tell(given, exported)
}

private String nameOf(Map candidate) {
    return candidate.product + ' ' + candidate.candidate
}

/** A mail that cannot be sent must not fail the build: the candidate is on the share. */
private void tell(Map given, Map exported) {
    if (!given.notify) {
        return
    }
    List<String> lines = [
        nameOf(exported) + ' is on the share: ' + exported.location,
        'candidate.json ' + exported.digest,
        env.BUILD_URL,
    ]
    try {
        mail to: given.notify, subject: nameOf(exported) + ' is ready to be tested', body: lines.join('\n')
    } catch (error) {
        String told = 'QA could not be told: ' + (error.message ?: 'no reason given').split('\n')[0]
        echo told
        jenkinsReleaseOutcome.say(candidate(given), 'exported', [told])
    }
}
