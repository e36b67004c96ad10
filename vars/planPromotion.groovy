// Plans a promotion and writes the plan to a file for approval. See planPromotion.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('planPromotion', arguments, [
        version: null,           // product version, such as '8.1.0'
        build: null,             // the build that QA validated, not the planning one
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: smb, aws, key, passphrase, mail, webhook
        plan: 'plan.json',       // file for the plan, to archive and approve it
        page: '',                // HTML file for people, with a style sheet beside it, to archive both
        checks: '',              // file for the gate's conditions as a JUnit report, for the step junit
        report: '',              // file for the result, to archive it
    ], ['smb', 'aws', 'key', 'passphrase', 'mail', 'webhook'])
    return jenkinsReleaseCli(
        verb: ['promote', 'plan'],
        options: ['--config': given.config, '--out': given.plan, '--page': given.page, '--checks': given.checks],
        flags: [:],
        operands: [given.version + '/' + given.build],
        credentials: given.credentials,
        report: given.report,
        names: ['--out': ['plan', '']],
    )
}
