package pipeline

/**
 * currentBuild: RunWrapper in Jenkins, which is stored as the name of its build. What is set here is on the disk of
 * the controller, so it survives a restart; a build that was restarted from a stage is another one.
 */
class CurrentBuild implements Serializable {
    private final String user
    String description
    String displayName
    boolean keepLog = false

    CurrentBuild(String user, String number) {
        this.user = user
        displayName = '#' + number
    }

    List getBuildCauses(String kind) {
        return user && kind == 'hudson.model.Cause$UserIdCause' ? [[userId: user, userName: user]] : []
    }

    /** Null until something made it other than a success. */
    String getResult() {
        String result = Build.running().result
        return result == 'SUCCESS' ? null : result
    }

    String getCurrentResult() {
        return Build.running().result
    }

    void setResult(String result) {
        Build.running().worsen(result)
    }

    private Object readResolve() {
        return Build.running().script.binding.getVariable('currentBuild')
    }
}
