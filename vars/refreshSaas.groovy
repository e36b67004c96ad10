// Brings a released version onto the SaaS stack on AWS, healthy or back to what ran before. See refreshSaas.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('refreshSaas', arguments, [
        version: null,           // released product version, such as '8.1.0'
        build: '',               // if several builds of the version are released
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: smb, aws, key, passphrase, mail, webhook
        dryRun: false,           // check everything, change nothing
        report: '',              // file for the result, to archive it
    ], ['smb', 'aws', 'key', 'passphrase', 'mail', 'webhook'])
    return jenkinsReleaseCli(
        verb: ['saas', 'refresh'],
        options: ['--config': given.config],
        flags: ['--dry-run': given.dryRun],
        operands: [given.build ? given.version + '/' + given.build : given.version],
        credentials: given.credentials,
        report: given.report,
    )
}
