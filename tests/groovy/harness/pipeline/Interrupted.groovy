package pipeline

/** An input that was answered with no, or a timeout: FlowInterruptedException in Jenkins. */
class Interrupted extends Exception {
    Interrupted(String message) {
        super(message)
    }
}
