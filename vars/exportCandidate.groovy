// Saves the images of this build as one release candidate on the share. See exportCandidate.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('exportCandidate', arguments, [
        version: null,                   // product version, such as '8.1.0'
        build: env.BUILD_NUMBER,         // becomes the candidate's folder
        config: 'release.toml',          // relative to the current directory
        revision: env.GIT_COMMIT ?: '',  // source revision, for the record
        credentials: [:],                // ids: smb, key, passphrase, mail, webhook
        dryRun: false,                   // check everything, write nothing
        report: '',                      // file for the result, to archive it
    ], ['smb', 'key', 'passphrase', 'mail', 'webhook'])
    return jenkinsReleaseCli(
        verb: ['candidate', 'export'],
        options: [
            '--config': given.config,
            '--version': given.version,
            '--build': given.build,
            '--revision': given.revision,
        ],
        flags: ['--dry-run': given.dryRun],
        credentials: given.credentials,
        report: given.report,
    )
}
