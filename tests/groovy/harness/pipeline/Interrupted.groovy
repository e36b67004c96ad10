package pipeline

/** An input that was answered with no, a timeout or an abort: FlowInterruptedException in Jenkins, which has no message. */
class Interrupted extends InterruptedException {
    final List<Serializable> causes

    Interrupted(Serializable... causes) {
        this.causes = causes as List
    }

    /** What Jenkins prints at the end of the build. */
    String told() {
        return causes*.shortDescription.join('\n')
    }
}

/** Somebody, as causes name them. */
class User implements Serializable {
    String id

    /** What Jenkins writes of a person: never the id. */
    String getDisplayName() {
        return id.capitalize() + ' of SkyDRM'
    }
}

/** The step input was answered with Abort. */
class Rejection implements Serializable {
    User user

    String getShortDescription() {
        return 'Rejected by ' + user.displayName
    }
}

/** The build was aborted. */
class UserInterruption implements Serializable {
    User user

    String getShortDescription() {
        return 'Aborted by ' + user.displayName
    }
}

/** The step timeout ended its body. */
class ExceededTimeout implements Serializable {
    String getShortDescription() {
        return 'Timeout has been exceeded'
    }
}

/** The harness gave up. */
class Stuck implements Serializable {
    String shortDescription
}
