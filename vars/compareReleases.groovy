// Tells what differs between two versions or candidates. See compareReleases.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('compareReleases', arguments, [
        from: null,              // version or candidate to compare with, such as '8.1.0'
        to: null,                // version or candidate whose changes are wanted, such as '8.1.1/57'
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: smb
        page: '',                // HTML file for people, with a style sheet beside it, to archive both
        report: '',              // file for the result, to archive it
    ], ['smb'])
    return jenkinsReleaseCli(
        verb: ['release', 'compare'],
        options: ['--config': given.config, '--page': given.page],
        flags: [:],
        operands: [given.from, given.to],
        credentials: given.credentials,
        report: given.report,
    )
}
