// Promotes a candidate to Amazon ECR, all or nothing, once the gate is open. See promoteCandidate.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('promoteCandidate', arguments, [
        version: null,           // product version, such as '8.1.0'
        build: null,             // the build that QA validated, not the promoting one
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: smb, aws, key, passphrase, mail, webhook
        dryRun: false,           // check gate and plan, change nothing
        checks: '',              // file for the gate's conditions as a JUnit report, for the step junit
        report: '',              // file for the result, to archive it
    ], ['smb', 'aws', 'key', 'passphrase', 'mail', 'webhook'])
    return jenkinsReleaseCli(
        verb: ['promote', 'run'],
        options: ['--config': given.config, '--checks': given.checks],
        flags: ['--dry-run': given.dryRun],
        operands: [given.version + '/' + given.build],
        credentials: given.credentials,
        report: given.report,
    )
}
