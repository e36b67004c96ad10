// QA's job as one step: load the candidate, test it, ask for the verdict, sign it. See qaPipeline.txt.
void call(Map arguments = [:], Closure test) {
    Map given = jenkinsReleaseArguments('qaPipeline', arguments, [
        submitter: null,         // who may give the verdict: user ids and groups, separated by commas
        results: 'junit.xml',    // JUnit reports that the tests write
        label: 'release-qa',     // label of the agents, on which nothing is built
        config: 'release.toml',  // relative to the workspace
        verdictDays: 7,          // how long the question stays
        credentials: [:],        // ids: smb, key, passphrase, mail, webhook
    ], ['smb', 'key', 'passphrase', 'mail', 'webhook'])
    int days = given.verdictDays as int
    pipeline {
        agent none
        options {
            preserveStashes(buildCount: 50)
            timestamps()
        }
        parameters {
            string(name: 'VERSION', description: 'Required. Product version, such as 8.1.0')
            string(name: 'BUILD', description: 'Required. Build to test, such as 42')
        }
        stages {
            stage('Test') {
                agent { label given.label }
                steps {
                    script {
                        jenkinsReleaseOutcome(candidate()) {
                            load(given)
                            test()
                            keep(reports(given.results, [:], 'tested.digest'))
                            stash name: 'results', includes: given.results
                            jenkinsReleaseOutcome.say(candidate(), 'waits for the verdict', [env.TEST_RESULTS])
                        }
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
                steps {
                    script {
                        jenkinsReleaseOutcome(candidate()) {
                            if (!env.TESTED_DIGEST) { // restarted from here
                                node(given.label) {
                                    takeStashes(given.results)
                                    keep(reports(given.results, [:], ''))
                                }
                                jenkinsReleaseOutcome.say(candidate(), 'waits for the verdict',
                                    ['candidate.json ' + env.TESTED_DIGEST, env.TEST_RESULTS])
                            }
                            Map answer = ask(given)
                            node(given.label) {
                                sign(given, answer)
                            }
                        }
                    }
                }
            }
        }
        post {
            failure {
                script {
                    jenkinsReleaseOutcome.ended(candidate(), 'failed')
                }
            }
            aborted {
                script {
                    jenkinsReleaseOutcome.ended(candidate(), 'aborted')
                }
            }
        }
    }
}

private String candidate() {
    return params.VERSION && params.BUILD ? params.VERSION + '/' + params.BUILD : ''
}

private void load(Map given) {
    jenkinsReleaseForm.require(['VERSION', 'BUILD'], [])
    jenkinsReleaseOutcome.say(candidate(), 'is tested')
    Map loaded = loadCandidate(version: params.VERSION, build: params.BUILD, config: given.config,
        report: 'tested.json', credentials: [smb: given.credentials.smb])
    jenkinsReleaseOutcome.say(candidate(), 'is tested', ['candidate.json ' + loaded.digest])
    env.TESTED_DIGEST = loaded.digest
    archiveArtifacts artifacts: 'tested.json', fingerprint: true
    // Before the tests run: they may write to the workspace.
    writeFile file: 'tested.digest', text: loaded.digest
    stash name: 'tested', includes: 'tested.digest'
    // What the tests of another candidate left on this agent is not a result of these.
    reports(given.results, ['--remove': true], '')
}

/** Asks for the verdict. Outside any node: waiting holds no executor. */
private Map ask(Map given) {
    Map answer = [:]
    try {
        answer = input(
            message: jenkinsReleaseOutcome.shown('The verdict on ' + candidate() + ', ' + env.TESTED_DIGEST + '? ' +
                env.TEST_RESULTS),
            ok: 'Sign', submitter: given.submitter, submitterParameter: 'TESTER',
            parameters: [
                choice(name: 'VERDICT', choices: ['fail', 'pass'], description: 'Required. May it be released?'),
                string(name: 'NOTE', description: 'Remark for the record'),
                string(name: 'ACCEPT_FAILURES',
                    description: 'Required for a pass if tests failed. Why it passes although they did'),
            ])
    } catch (InterruptedException failure) {
        jenkinsReleaseOutcome.explain(candidate(), failure, 'nobody answered in ' + given.verdictDays + ' days')
        throw failure
    }
    if (answer.VERDICT == 'pass' && env.TESTS_FAILED == 'true' && !answer.ACCEPT_FAILURES?.trim()) {
        error 'configuration: tests failed, so a pass needs ACCEPT_FAILURES: why it passes\n' +
            'hint: restart this build from Sign off, and the question is asked again'
    }
    return answer
}

private void sign(Map given, Map answer) {
    checkout scm
    takeStashes(given.results)
    qaSignOff version: params.VERSION, build: params.BUILD, verdict: answer.VERDICT,
        digest: env.TESTED_DIGEST, tester: answer.TESTER, results: given.results,
        note: answer.NOTE, acceptFailures: answer.ACCEPT_FAILURES, config: given.config,
        report: 'verdict.json', credentials: given.credentials
    List<String> facts = ['by ' + answer.TESTER + (answer.NOTE?.trim() ? ': ' + answer.NOTE : '')]
    if (answer.VERDICT == 'pass' && answer.ACCEPT_FAILURES?.trim()) {
        facts << 'failed tests were accepted: ' + answer.ACCEPT_FAILURES
    }
    jenkinsReleaseOutcome.done(candidate(), 'signed: ' + answer.VERDICT, facts)
    archiveArtifacts artifacts: 'verdict.json', fingerprint: true
    if (answer.VERDICT == 'fail') {
        // Not a failure: the job did its work, and the verdict is on the share. But nobody may take it for a pass.
        unstable candidate() + ' signed: fail'
    }
}

/** Takes what was tested, and the reports, from the build that tested; without them there is no question. */
private void takeStashes(String results) {
    // There may be other reports here, of another build or of the checkout: a pattern would find them too.
    reports(results, ['--remove': true], '')
    try {
        unstash 'tested'
        unstash 'results'
    } catch (problem) {
        if (!problem.message?.contains('No such saved stash')) {
            throw problem
        }
        error('configuration: the reports of the tests are gone, so there is nothing to give a verdict on\n' +
            'hint: Jenkins keeps them for the last 50 builds: start this job again, and the candidate is tested again')
    }
    env.TESTED_DIGEST = readFile(file: 'tested.digest', encoding: 'UTF-8').trim()
}

/** Keeps the test results for the question: a pass that lacks a reason would be refused after the answer. */
private void keep(Map found) {
    env.TESTS_FAILED = (found.failed || found.contradictions) as String
    env.TEST_RESULTS = 'Tests: ' + found.passed + ' passed, ' + found.failed + ' failed, ' +
        found.skipped + ' skipped.' + (env.TESTS_FAILED == 'true' ? ' A pass needs ACCEPT_FAILURES.' : '')
}

/** Removes the reports of the tests, or reads those that are newer than a file: without one the stage fails. */
private Map reports(String results, Map flags, String newerThan) {
    return jenkinsReleaseCli(
        verb: ['qa', 'results'],
        options: ['--results': results, '--newer-than': newerThan],
        flags: flags,
        operands: [],
        credentials: [:],
        report: '',
    )
}
