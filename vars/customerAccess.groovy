// Gives a customer access to the images, renews it, ends it, or looks at it. See customerAccess.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('customerAccess', arguments, [
        action: null,            // 'issue', 'rotate', 'revoke', 'list', 'audit' or 'doctor'
        customer: '',            // such as 'ACME'; not for list and audit
        ticket: '',              // for issue: the ticket that asks for the access
        reason: '',              // for revoke: why
        secret: '',              // for issue and rotate: secret in AWS Secrets Manager that gets the key
        folder: '',              // or a folder for a hand-over file, encrypted for the recipient
        recipient: '',           // public key of who may open the file: age1..., ssh-ed25519 ...
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: aws
        dryRun: false,           // for issue, rotate and revoke: tell what would be done, change nothing
        report: '',              // file for the result, to archive it
    ], ['aws'])
    if (!(given.action in ['issue', 'rotate', 'revoke', 'list', 'audit', 'doctor'])) {
        error 'configuration: customerAccess cannot run with these arguments\n' +
            '  - action: ' + given.action + ' is none of issue, rotate, revoke, list, audit, doctor'
    }
    return jenkinsReleaseCli(
        verb: ['customer', given.action],
        options: [
            '--config': given.config,
            '--ticket': given.ticket,
            '--reason': given.reason,
            '--secret': given.secret,
            '--file': given.folder,
            '--recipient': given.recipient,
        ],
        flags: ['--dry-run': given.dryRun],
        operands: given.customer ? [given.customer] : [],
        credentials: given.credentials,
        report: given.report,
    )
}
