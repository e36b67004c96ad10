// Signs QA's verdict on a candidate. See qaSignOff.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('qaSignOff', arguments, [
        version: null,           // product version, such as '8.1.0'
        build: null,             // the build that was tested
        verdict: null,           // 'pass' or 'fail'
        tester: null,            // the submitterParameter of input, or who is responsible for the tests
        results: '',             // JUnit reports, files or patterns; a pass needs one
        digest: '',              // what was tested: digest in the result of loadCandidate
        withoutReceipt: '',      // why a pass is given although it is unknown what was tested; recorded
        note: '',                // remark for the record
        acceptFailures: '',      // why it passes although tests failed; recorded
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: smb, key, passphrase, mail, webhook
        dryRun: false,           // check everything, write nothing
        report: '',              // file for the result, to archive it
    ], ['smb', 'key', 'passphrase', 'mail', 'webhook'])
    return jenkinsReleaseCli(
        verb: ['qa', 'sign-off'],
        options: [
            '--config': given.config,
            '--verdict': given.verdict,
            '--tester': given.tester,
            '--results': given.results,
            '--digest': given.digest,
            '--without-receipt': given.withoutReceipt,
            '--note': given.note,
            '--accept-failures': given.acceptFailures,
        ],
        flags: ['--dry-run': given.dryRun],
        operands: [given.version + '/' + given.build],
        credentials: given.credentials,
        report: given.report,
    )
}
