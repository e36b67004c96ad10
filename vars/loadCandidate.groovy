// Loads a candidate's images into the agent's Docker daemon, and verifies them. See loadCandidate.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('loadCandidate', arguments, [
        version: null,           // product version, such as '8.1.0'
        build: null,             // the build to test
        config: 'release.toml',  // relative to the current directory
        platform: '',            // which of several platforms; '' is that of the agent's daemon
        credentials: [:],        // ids: smb
        report: '',              // file for the result, to archive it
    ], ['smb'])
    return jenkinsReleaseCli(
        verb: ['candidate', 'load'],
        options: ['--config': given.config, '--platform': given.platform],
        flags: [:],
        operands: [given.version + '/' + given.build],
        credentials: given.credentials,
        report: given.report,
    )
}
