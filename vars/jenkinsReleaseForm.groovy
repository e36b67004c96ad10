// Internal: what the pipelines require of the form that a person filled in. See jenkinsReleaseForm.txt.
import com.cloudbees.groovy.cps.NonCPS

/** Fails with every mistake in the form, by the names of its fields: what is missing, has several lines, and more. */
void require(List<String> needed, List<String> more) {
    List<String> found = mistakes(params, needed) + more
    if (found) {
        error 'configuration: this job cannot run with what its form says\n  - ' + found.join('\n  - ') +
            '\nhint: start it again with a form that is right'
    }
}

@NonCPS
private List<String> mistakes(Map form, List<String> needed) {
    List<String> found = []
    for (name in (needed + form.keySet()).unique()) {
        String value = form[name] as String ?: ''
        if (name in needed && !value.trim()) {
            found << (name + ' is missing')
        } else if (!(value ==~ /[^\p{Cc}\u2028\u2029]*/)) {
            found << (name + ' has to be one line, without control characters')
        }
    }
    return found
}
