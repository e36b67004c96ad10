// Gives a customer access to the images, renews it, ends it, or reports on it. See customerAccess.txt.
import com.cloudbees.groovy.cps.NonCPS

Map call(Map arguments = [:]) {
    Map given = jenkinsReleaseArguments('customerAccess', arguments, [
        action: null,            // 'issue', 'rotate', 'revoke', 'list', 'audit' or 'doctor'
        customer: '',            // such as 'ACME'; not for list and audit
        ticket: '',              // for issue: the ticket that asks for the access
        reason: '',              // for revoke: why
        kind: '',                // for issue and revoke: 'iam-user' or 'aws-account'
        accountId: '',           // for issue: the customer's AWS account
        networks: '',            // for issue: networks that may pull, separated by blanks
        expiresDays: '',         // for issue: days until the access ends
        secret: '',              // for issue and rotate: secret in AWS Secrets Manager that gets the key
        folder: '',              // or a folder for a hand-over file, encrypted
        recipient: '',           // public key that opens the file: age1..., ssh-ed25519 ...
        address: '',             // for doctor: public address of the customer
        tag: '',                 // for doctor: tag to pull with the customer's key
        undo: false,             // for rotate and revoke: take it back
        delete: false,           // for revoke: delete what is left, after the grace period
        config: 'release.toml',  // relative to the current directory
        credentials: [:],        // ids: aws, customerKey, handoverPassphrase
        dryRun: false,           // for issue, rotate and revoke: say what would be done, change nothing
        report: '',              // file for the result, to archive it
    ], ['aws', 'customerKey', 'handoverPassphrase'])
    Map takes = [
        issue: ['--ticket', '--kind', '--account-id', '--source-ip', '--expires-days',
                '--secret', '--file', '--recipient', '--dry-run'],
        rotate: ['--secret', '--file', '--recipient', '--undo', '--dry-run'],
        revoke: ['--reason', '--kind', '--undo', '--delete', '--dry-run'],
        list: [],
        audit: [],
        doctor: ['--address', '--tag'],
    ]
    Map options = [
        '--ticket': given.ticket,
        '--reason': given.reason,
        '--kind': given.kind,
        '--account-id': given.accountId,
        '--source-ip': given.networks.tokenize(' ,'),
        '--expires-days': given.expiresDays,
        '--secret': given.secret,
        '--file': given.folder,
        '--recipient': given.recipient,
        '--address': given.address,
        '--tag': given.tag,
    ]
    Map flags = ['--undo': given.undo, '--delete': given.delete, '--dry-run': given.dryRun]
    Map names = [ // option to argument, and to the field of customerAccessPipeline
        '--account-id': ['accountId', 'ACCOUNT_ID'],
        '--expires-days': ['expiresDays', 'EXPIRES_DAYS'],
        '--source-ip': ['networks', 'NETWORKS'],
        '--file': ['folder', 'RECIPIENT'],
        '--dry-run': ['dryRun', 'DRY_RUN'],
        'JENKINS_RELEASE_CUSTOMER_KEY_ID and JENKINS_RELEASE_CUSTOMER_KEY_SECRET':
            ['credentials.customerKey', 'CUSTOMER_KEY'],
        'JENKINS_RELEASE_HANDOVER_PASSPHRASE': ['credentials.handoverPassphrase', ''],
        "'(?:jenkins-release )?customer (\\w+) --undo'": ['action $1 with undo', 'ACTION $1 with UNDO'],
        "'(?:jenkins-release )?customer (\\w+) --delete'": ['action $1 with delete', 'ACTION $1 with DELETE'],
        "'(?:jenkins-release )?customer (\\w+)'": ['action $1', 'ACTION $1'],
    ]
    String wrong = mistakes(given.action, given.customer, takes, options + flags, names)
    if (wrong) {
        error wrong
    }
    return jenkinsReleaseCli(
        verb: ['customer', given.action],
        options: ['--config': given.config] + options,
        flags: flags,
        operands: given.customer ? [given.customer] : [],
        credentials: given.credentials,
        report: given.report,
        reportRefusal: true,
        names: names,
    )
}

@NonCPS
private String mistakes(String action, String customer, Map takes, Map set, Map names) {
    List<String> found = []
    if (takes.containsKey(action)) {
        boolean needed = !(action in ['list', 'audit'])
        if (needed != (customer as boolean)) {
            found << ('customer: ' + (needed ? 'is missing' : 'does not go with ' + action))
        }
        for (entry in set) {
            if (entry.value && !takes[action].contains(entry.key)) {
                found << ((names[entry.key] ?: [entry.key.substring(2)])[0] + ' does not go with ' + action)
            }
        }
    } else {
        found << ('action: ' + action + ' is none of ' + takes.keySet().join(', '))
    }
    if (!found) {
        return ''
    }
    return 'configuration: customerAccess cannot run with these arguments\n  - ' + found.join('\n  - ') +
        '\nhint: customerAccess.txt describes them'
}
