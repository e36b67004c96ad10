// Internal: checks what a public step was called with. See jenkinsReleaseArguments.txt.
import com.cloudbees.groovy.cps.NonCPS

/**
 * Returns the arguments of a public step with its defaults filled in, or fails with every mistake.
 *
 * The defaults name all arguments: null is required, a boolean is a boolean, an empty Map
 * holds credentials ids, a Map with entries holds values with these names and defaults, anything else is
 * text. Blank text counts as not given.
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
                    values[each.key as String] = each.value as String
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
        } else if (!isMissing(id.value)) {
            found.addAll(textMistakes(name + '.' + id.key, id.value))
        }
    }
    return found
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
