// Tells the whole story of a version and writes it to files. See releaseHistory.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('releaseHistory', arguments, [
        version: null,           // product version, such as '8.1.0'
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: smb
        page: '',                // file for the story as text, to archive it
        report: '',              // file for the result, to archive it
    ], ['smb'])
    return jenkinsReleaseCli(
        verb: ['release', 'history'],
        options: ['--config': given.config, '--out': given.page],
        flags: [:],
        operands: [given.version],
        credentials: given.credentials,
        report: given.report,
    )
}
