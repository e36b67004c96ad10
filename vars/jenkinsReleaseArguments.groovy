// Internal: checks what a public step was called with. See jenkinsReleaseArguments.txt.
import com.cloudbees.groovy.cps.NonCPS

/**
 * Returns the arguments of a public step with its defaults filled in, or fails with every mistake.
 *
 * The defaults name all arguments: null is required, a boolean is a boolean, an empty Map
 * holds credentials ids, a Map with entries holds values with these names and defaults, anything else is
 * text. Blank text counts as not given. Credentials for AWS may be a Map: see awsMistakes.
 */
Map call(String step, Map given, Map defaults, List<String> kinds) {
    String wrong = mistakes(step, given, defaults, kinds)
    if (wrong) {
        error wrong
    }
    return merged(given, defaults)
}

@NonCPS
private Map merged(Map given, Map defaults) {
    Map all = [:]
    for (entry in defaults) {
        def value = isMissing(given[entry.key]) ? entry.value : given[entry.key]
        if (value instanceof Map) {
            Map values = [:]
            values.putAll(entry.value)
            for (each in value) {
                if (!isMissing(each.value)) {
                    values[each.key as String] = each.value instanceof Map ? texts(each.value) : each.value as String
                }
            }
            all[entry.key] = values
        } else {
            all[entry.key] = value instanceof Boolean ? value : value as String
        }
    }
    return all
}

@NonCPS
private Map texts(Map given) {
    Map found = [:]
    for (each in given) {
        if (!isMissing(each.value)) {
            found[each.key as String] = each.value as String
        }
    }
    return found
}

@NonCPS
private String mistakes(String step, Map given, Map defaults, List<String> kinds) {
    List<String> found = []
    for (name in given.keySet()) {
        if (!defaults.containsKey(name)) {
            found << (name + ': there is no such argument; accepted are ' + defaults.keySet().join(', '))
        }
    }
    for (entry in defaults) {
        def value = given[entry.key]
        if (isMissing(value)) {
            if (entry.value == null) {
                found << (entry.key + ': is missing')
            }
        } else if (entry.value instanceof Boolean) {
            if (!(value instanceof Boolean)) {
                found << (entry.key + ': must be true or false without quotes, such as params.DRY_RUN')
            }
        } else if (entry.value instanceof Map) {
            found.addAll(mapMistakes(entry.key, value, entry.value ? entry.value.keySet() as List : kinds))
        } else {
            found.addAll(textMistakes(entry.key, value))
        }
    }
    if (!found) {
        return ''
    }
    return 'configuration: ' + step + ' cannot run with these arguments\n  - ' + found.join('\n  - ') +
        '\nhint: ' + step + '.txt describes them'
}

@NonCPS
private List<String> mapMistakes(String name, Object value, List<String> kinds) {
    if (!(value instanceof Map)) {
        String what = name == 'credentials' ? 'credentials ids' : name
        return [name + ': must be a Map of ' + what + ': ' + kinds.join(', ')]
    }
    List<String> found = []
    for (id in value) {
        if (!kinds.contains(id.key as String)) {
            found << (name + '.' + id.key + ': there is no such kind; accepted are ' + kinds.join(', '))
        } else if (id.value instanceof Map && (id.key as String) in ['aws', 'awsRead']) {
            found.addAll(awsMistakes(name + '.' + id.key, id.value))
        } else if (!isMissing(id.value)) {
            found.addAll(textMistakes(name + '.' + id.key, id.value))
        }
    }
    return found
}

/**
 * What is wrong with credentials for AWS that are more than the id of a username with password: AWS
 * credentials [aws: id, role: arn, session: name, duration: seconds], of which role, session and duration may
 * be left out, or an OIDC token that is bound as a file [oidc: id, role: arn, session: name].
 */
@NonCPS
private List<String> awsMistakes(String name, Map value) {
    boolean entry = !isMissing(value.aws)
    if (entry == !isMissing(value.oidc)) {
        return [name + ': must have either aws, the id of AWS credentials, or oidc, the id of an OIDC token']
    }
    List<String> accepted = entry ? ['aws', 'role', 'session', 'duration'] : ['oidc', 'role', 'session']
    List<String> found = []
    for (part in value) {
        String place = name + '.' + part.key
        if (!accepted.contains(part.key as String)) {
            found << (place + ': there is no such value with ' + accepted[0] + '; accepted are ' + accepted.join(', '))
        } else if (!isMissing(part.value)) {
            List<String> wrong = textMistakes(place, part.value)
            found.addAll(wrong ?: formMistakes(place, part.key as String, part.value as String))
        }
    }
    if (isMissing(value.role) && !entry) {
        found << (name + '.role: is missing; a token opens nothing without the ARN of a role')
    }
    if (isMissing(value.role) && entry && !(isMissing(value.session) && isMissing(value.duration))) {
        found << (name + '.role: is missing; session and duration are those of a role')
    }
    return found
}

/** What AWS would refuse only after the binding: AssumeRole and AssumeRoleWithWebIdentity of the STS API reference. */
@NonCPS
private List<String> formMistakes(String place, String part, String text) {
    if (part == 'role' && !text.matches('arn:aws[a-z-]*:iam::[0-9]{12}:role/[\\w+=,.@/-]+')) {
        return [place + ': must be the ARN of a role, such as arn:aws:iam::123456789012:role/skydrm-push']
    }
    if (part == 'session' && !text.matches('[\\w+=,.@-]{2,64}')) {
        return [place + ': must be 2 to 64 letters, digits and + = , . @ _ -']
    }
    boolean wrong = part == 'duration' && !(text.matches('[0-9]{3,5}') && (text as int) in 900..43200)
    return wrong ? [place + ': must be 900 to 43200 seconds; the role says how many it allows'] : []
}

@NonCPS
private List<String> textMistakes(String name, Object value) {
    if (!(value instanceof CharSequence || value instanceof Number)) {
        return [name + ': must be text']
    }
    // The script sandbox refuses Character.isISOControl: these are the same characters.
    boolean printable = value.toString().matches('[^\\x00-\\x1f\\x7f-\\x9f]*')
    return printable ? [] : [name + ': holds a line break or another control character']
}

@NonCPS
private boolean isMissing(Object value) {
    return value == null || (value instanceof CharSequence && !value.toString().trim())
}
