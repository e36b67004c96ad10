package pipeline

/** What the step error throws: hudson.AbortException in Jenkins. */
class Aborted extends Exception {
    Aborted(String message) {
        super(message)
    }
}
