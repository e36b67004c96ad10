// Writes the release board: where every version stands, and what it waits for. See releaseBoard.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('releaseBoard', arguments, [
        out: 'board',            // folder for the pages, to archive it; '' for the places that [board] names
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: smb, aws
        report: '',              // file for the result, to archive it
    ], ['smb', 'aws'])
    return jenkinsReleaseCli(
        verb: ['release', 'board'],
        options: ['--config': given.config, '--out': given.out],
        flags: [:],
        credentials: given.credentials,
        report: given.report,
    )
}
