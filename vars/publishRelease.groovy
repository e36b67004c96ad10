// Copies the installers of a candidate that QA signed off to the release area, all or nothing. See publishRelease.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('publishRelease', arguments, [
        version: null,           // product version, such as '8.1.0'
        build: null,             // the build that QA validated, not the publishing one
        setupZip: '',            // zip with which customers deploy the images, if the candidate has none
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: smb, aws, key, passphrase, mail, webhook
        dryRun: false,           // check everything, publish nothing
        report: '',              // file for the result, to archive it
    ], ['smb', 'aws', 'key', 'passphrase', 'mail', 'webhook'])
    return jenkinsReleaseCli(
        verb: ['release', 'publish'],
        options: ['--config': given.config, '--setup-zip': given.setupZip],
        flags: ['--dry-run': given.dryRun],
        operands: [given.version + '/' + given.build],
        credentials: given.credentials,
        report: given.report,
    )
}
