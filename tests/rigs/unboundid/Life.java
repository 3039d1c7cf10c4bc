import com.unboundid.scim2.client.ScimService;
import com.unboundid.scim2.common.types.Email;
import com.unboundid.scim2.common.types.GroupResource;
import com.unboundid.scim2.common.types.Member;
import com.unboundid.scim2.common.types.Name;
import com.unboundid.scim2.common.types.UserResource;
import jakarta.ws.rs.client.ClientBuilder;
import jakarta.ws.rs.client.ClientRequestFilter;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import org.glassfish.jersey.apache.connector.ApacheConnectorProvider;
import org.glassfish.jersey.client.ClientConfig;

/** A SCIM client on UnboundID's SDK: one command a line, one line of answer each. Its arguments are the base URL; the
 * token comes as the first line. It ends with its standard input. */
public class Life {
    public static void main(String[] words) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        var token = lines.readLine();
        // Jersey's own connector has no PATCH.
        var client = ClientBuilder.newClient(new ClientConfig().connectorProvider(new ApacheConnectorProvider()));
        client.register((ClientRequestFilter) request ->
            request.getHeaders().putSingle("Authorization", "Bearer " + token));
        var service = new ScimService(client.target(words[0]));
        UserResource user = null;
        GroupResource group = null;
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            var word = line.split(" ");
            String said;
            try {
                switch (word[0]) {
                    case "discover" -> said = service.getServiceProviderConfig().getPatch().isSupported() + " "
                        + service.getSchemas().getTotalResults() + " " + service.getResourceTypes().getTotalResults();
                    case "create" -> {
                        var name = new Name().setGivenName("Ona").setFamilyName("Lind");
                        var email = new Email().setValue(word[1]).setType("work").setPrimary(true);
                        var made = new UserResource().setUserName(word[1]).setName(name).setEmails(List.of(email))
                            .setActive(true);
                        made.setExternalId(word[1]);
                        user = service.create("Users", made);
                        said = user.getId();
                    }
                    case "find" -> said = "" + service.searchRequest("Users")
                        .filter("userName eq \"" + word[1] + "\"").invokePost(UserResource.class).getTotalResults();
                    case "update" -> {
                        user = service.replace(user.setTitle("Boss"));
                        said = user.getTitle();
                    }
                    case "group" -> {
                        group = service.create("Groups", new GroupResource().setDisplayName(word[1]));
                        said = group.getId();
                    }
                    case "join" -> {
                        service.modifyRequest(group)
                            .addValues("members", new Member().setValue(user.getId())).invoke();
                        said = "done";
                    }
                    case "leave" -> {
                        service.modifyRequest(group)
                            .removeValues("members[value eq \"" + user.getId() + "\"]").invoke();
                        said = "done";
                    }
                    case "deactivate" -> {
                        user = service.modifyRequest(user).replaceValue("active", false).invoke();
                        said = "" + user.getActive();
                    }
                    case "reactivate" -> {
                        user = service.modifyRequest(user).replaceValue("active", true).invoke();
                        said = "" + user.getActive();
                    }
                    case "delete" -> {
                        service.delete(user);
                        said = "done";
                    }
                    default -> said = "no such word";
                }
            } catch (Exception fault) {
                said = "fault: " + fault;
            }
            System.out.println(said.replace('\n', ' '));
            System.out.flush();
        }
    }
}
