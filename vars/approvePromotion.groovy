// Signs the approval of exactly one plan, in the name of the approver. See approvePromotion.txt.
Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('approvePromotion', arguments, [
        plan: null,              // file that planPromotion wrote, such as 'plan.json'
        approver: null,          // the submitterParameter of input, never a job's parameter
        reason: null,            // why; recorded
        sameBuild: true,         // whether this build promotes too: who started it counts as the requester
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: smb, aws, key, passphrase, mail, webhook
        report: '',              // file for the result, to archive it
    ], ['smb', 'aws', 'key', 'passphrase', 'mail', 'webhook'])
    return jenkinsReleaseCli(
        verb: ['promote', 'approve'],
        options: [
            '--config': given.config,
            '--approver': given.approver,
            '--reason': given.reason,
        ],
        flags: ['--same-build': given.sameBuild],
        operands: [given.plan],
        credentials: given.credentials,
        report: given.report,
        names: ["'promote plan --out'": ['planPromotion', '']],
    )
}
