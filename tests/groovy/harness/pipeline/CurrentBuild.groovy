package pipeline

/** currentBuild: who started it. RunWrapper in Jenkins, which is stored as the name of its build. */
class CurrentBuild implements Serializable {
    private final String user
    String description

    CurrentBuild(String user) {
        this.user = user
    }

    List getBuildCauses(String kind) {
        return user && kind == 'hudson.model.Cause$UserIdCause' ? [[userId: user, userName: user]] : []
    }

    private Object readResolve() {
        return Build.running().script.binding.getVariable('currentBuild')
    }
}
