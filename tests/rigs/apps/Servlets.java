// Tomcat with one servlet for /admin/* and one for the rest.
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;

public class Servlets {
    static class Says extends HttpServlet {
        private final String words;

        Says(String words) {
            this.words = words;
        }

        @Override
        protected void service(HttpServletRequest request, HttpServletResponse response) throws IOException {
            response.getWriter().print(words);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(arguments[0]);
        tomcat.setPort(Integer.parseInt(arguments[1]));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        Context context = tomcat.addContext("", arguments[0]);
        Tomcat.addServlet(context, "admin", new Says("the secret of the admins\n"));
        Tomcat.addServlet(context, "open", new Says("an open page\n"));
        context.addServletMappingDecoded("/admin/*", "admin");
        context.addServletMappingDecoded("/", "open");
        tomcat.start();
        tomcat.getServer().await();
    }
}
