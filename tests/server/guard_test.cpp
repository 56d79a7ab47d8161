// Who may ask what: secrets, hosts, origins, paths, sizes, slow and silent clients.
#include "server/guard.h"

#include <gtest/gtest.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "io/picture_base64.h"
#include "scene.h"
#include "server/listener.h"
#include "server/outputs.h"
#include "server/problem.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using testing::shared_server;

// Nobody takes them yet: what the system lets wait decides. It drops what is one too many, whose client tries again for up to half a minute.
TEST(Listener, HundredsOfConnectionsMayComeAtOnce) {
  Listener listener({});
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(listener.bind("127.0.0.1", 0)));
  std::vector<pollfd> connections;
  for (int i = 0; i < 200; ++i) {
    connections.push_back({::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), POLLOUT, 0});
    ASSERT_GE(connections.back().fd, 0);
    ::connect(connections.back().fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  int connected = 0;
  for (pollfd& connection : connections) {
    connected += ::poll(&connection, 1, 500) == 1 && (connection.revents & (POLLERR | POLLHUP)) == 0;
    if (connected <= &connection - connections.data()) break;  // one is missing already: do not wait for each
  }
  for (const pollfd& connection : connections) ::close(connection.fd);
  EXPECT_EQ(connected, 200);
}

TEST(Guard, AServerWithATokenLetsNobodyInWithoutIt) {
  testing::Folders folders;
  ServerOptions options = folders.options();
  options.guard.token = "a secret";
  testing::Running server(std::move(options));
  EXPECT_EQ(server.get("/api/v1/status").status, 401);
  EXPECT_EQ(server.get("/sdapi/v1/options").status, 401);
  EXPECT_EQ(server.get("/metrics").status, 401);
  EXPECT_EQ(server.get("/health").status, 200);
  EXPECT_EQ(server.get("/api/v1/status", {{"Authorization", "Bearer a secret"}}).status, 200);
  EXPECT_EQ(server.get("/api/v1/status", {{"Authorization", "Bearer wrong"}}).status, 401);
  const std::string basic = "any:a secret";
  EXPECT_EQ(server
                .get("/sdapi/v1/options",
                     {{"Authorization", "Basic " + to_base64(std::span(reinterpret_cast<const uint8_t*>(basic.data()), basic.size()))}})
                .status,
            200);
  const auto login = server.post("/api/v1/login", {{"token", "a secret"}});
  ASSERT_EQ(login.status, 200);
  const std::string cookie = login.headers.at("set-cookie");
  EXPECT_NE(cookie.find("HttpOnly; SameSite=Strict"), std::string::npos);
  EXPECT_EQ(server.get("/api/v1/status", {{"Cookie", cookie.substr(0, cookie.find(';'))}}).status, 200);
  EXPECT_EQ(server.get("/api/v1/status", {{"Cookie", "lorikeet_session=guess"}}).status, 401);
}

TEST(Guard, TooManyWrongTokensAreAnsweredBy429EvenIfOneIsRight) {
  GuardOptions options{.token = "right"};
  Guard guard(options);
  HttpRequest request;
  request.path = "/api/v1/status";
  request.address = "10.0.0.1";
  request.headers = {{"host", "127.0.0.1"}, {"authorization", "Bearer wrong"}};
  for (int i = 0; i < Guard::kMostFailures; ++i) EXPECT_EQ(guard.refuse(request, "GET")->status, 401);
  request.headers["authorization"] = "Bearer right";
  EXPECT_EQ(guard.refuse(request, "GET")->status, 429);
  request.address = "10.0.0.2";
  EXPECT_FALSE(guard.refuse(request, "GET"));
}

TEST(Guard, OthersThanThisMachineNeedASecretToBeListenedTo) {
  testing::Folders folders;
  ServerOptions options = folders.options();
  options.host = "0.0.0.0";
  try {
    HttpServer server(std::move(options));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("--token"), std::string::npos);
  }
}

TEST(Guard, ANameThatIsNotOursIsRefusedSoThatNoNameCanBeMadeToMeanThisServer) {
  EXPECT_EQ(shared_server().get("/api/v1/status", {{"Host", "evil.example"}}).status, 403);
  EXPECT_EQ(shared_server().get("/api/v1/status", {{"Host", "localhost:1"}}).status, 200);
  EXPECT_EQ(shared_server().get("/api/v1/status", {{"Host", "[::1]:7860"}}).status, 200);
}

TEST(Guard, APageFromElsewhereMayChangeNothing) {
  const json refresh = json::object();
  EXPECT_EQ(shared_server().post("/api/v1/library/refresh", refresh, {{"Origin", "https://evil.example"}}).status, 403);
  EXPECT_EQ(shared_server().post("/api/v1/library/refresh", refresh, {{"Origin", "null"}}).status, 403);
  EXPECT_EQ(shared_server().post("/api/v1/library/refresh", refresh, {{"Sec-Fetch-Site", "cross-site"}}).status, 403);
  EXPECT_EQ(shared_server()
                .post("/api/v1/library/refresh", refresh, {{"Origin", "http://127.0.0.1:" + std::to_string(shared_server().port())}})
                .status,
            200);
  EXPECT_EQ(shared_server().get("/api/v1/status", {{"Origin", "https://evil.example"}}).headers.count("access-control-allow-origin"), 0u);
  EXPECT_EQ(shared_server().post("/api/v1/jobs", {{"kind", "generate"}}, {{"Content-Type", "text/plain"}}).status, 415);
}

TEST(Guard, CorsIsForTheOriginsThatWereNamed) {
  GuardOptions options{.origins = {"https://good.example"}};
  Guard guard(options);
  HttpRequest request;
  request.path = "/api/v1/jobs";
  request.headers = {{"host", "127.0.0.1:7860"}, {"origin", "https://good.example"}};
  EXPECT_EQ(guard.refuse(request, "OPTIONS")->status, 204);
  EXPECT_FALSE(guard.refuse(request, "POST"));
  EXPECT_FALSE(guard.headers_for(request).empty());
  request.headers["origin"] = "https://evil.example";
  EXPECT_EQ(guard.refuse(request, "OPTIONS")->status, 403);
  EXPECT_TRUE(guard.headers_for(request).empty());
}

TEST(Paths, NoNameLeadsOutOfAFolder) {
  namespace fs = std::filesystem;
  testing::Folders folders;
  fs::create_directories(folders.root() / "outputs" / "day");
  std::ofstream(folders.root() / "secret.png") << "secret";
  std::ofstream(folders.root() / "outputs" / "day" / "fine.png") << "fine";
  fs::create_symlink(folders.root() / "secret.png", folders.root() / "outputs" / "link.png");
  const fs::path outputs = folders.root() / "outputs";
  EXPECT_EQ(path_below(outputs, "day/fine.png").filename(), "fine.png");
  for (const std::string name :
       {"../secret.png", "day/../../secret.png", "link.png", "/etc/passwd", "", "day", ".hidden", "day//fine.png"}) {
    if (name == "day") continue;
    EXPECT_THROW(path_below(outputs, name), Error) << name;
  }
}

TEST(Paths, NamesInRequestsAreNamesOfTheLibrary) {
  const auto refused = [](const testing::Answer& answer) { return answer.status == 404 || answer.status == 400 || answer.status == 403; };
  for (const char* name : {"../../etc/passwd", "/etc/passwd", "..%2F..%2Fsecret", "%00"}) {
    EXPECT_TRUE(refused(shared_server().get("/api/v1/pictures/file?id=" + std::string(name)))) << name;
    EXPECT_TRUE(refused(shared_server().get("/api/v1/library/loras/item?name=" + std::string(name)))) << name;
    EXPECT_TRUE(refused(shared_server().get("/api/v1/datasets/item?name=" + std::string(name)))) << name;
    EXPECT_TRUE(refused(shared_server().get("/sd_extra_networks/thumb?filename=" + std::string(name)))) << name;
  }
  json request = testing::small_request();
  request["checkpoint"] = "/etc/passwd";
  EXPECT_TRUE(refused(shared_server().post("/api/v1/jobs", {{"kind", "generate"}, {"request", request}})));
  request = testing::small_request();
  request["init_image"] = "/etc/passwd";
  EXPECT_TRUE(refused(shared_server().post("/api/v1/jobs", {{"kind", "generate"}, {"request", request}})));
  request = testing::small_request();
  request["vae"] = "/etc/passwd";
  EXPECT_TRUE(refused(shared_server().post("/api/v1/jobs", {{"kind", "generate"}, {"request", request}})));
  EXPECT_TRUE(refused(shared_server().post("/api/v1/jobs", {{"kind", "train"}, {"request", {{"images", "/etc"}}}})));
  EXPECT_TRUE(refused(shared_server().post(
      "/api/v1/jobs",
      {{"kind", "workshop"},
       {"request", {{"operation", "resize"}, {"inputs", json::array({"tiny-style"})}, {"rank", 1}, {"output", "../../out"}}}})));
}

TEST(Paths, AnswersTellNoFolders) {
  const auto answer =
      shared_server().post("/api/v1/jobs", {{"kind", "generate"}, {"request", {{"prompt", "a"}, {"checkpoint", "nowhere"}}}});
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body.find(testing::shared_folders().root().string()), std::string::npos) << answer.body;
  EXPECT_EQ(without_folders("looked in /srv/my/models/loras, /home/a/x.safetensors; see /api/v1/jobs and styles/monet"),
            "looked in loras, x.safetensors; see /api/v1/jobs and styles/monet");
}

TEST(Limits, ABodyThatIsTooLargeIs413AndTooManyPixelsAre400) {
  testing::Folders folders;
  ListenerLimits limits;
  limits.body_bytes = 10000;
  testing::Running server(folders.options(), limits);
  EXPECT_EQ(server.post("/api/v1/prompt/tokens", {{"text", std::string(20000, 'a')}}).status, 413);
  EXPECT_EQ(server.post("/api/v1/prompt/tokens", {{"text", "a fox"}}).json().at("count"), 2);
  testing::Connection chunked(server.port());  // the length is not told in advance
  chunked.send(
      "POST /api/v1/prompt/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20; ++i) chunked.send("400\r\n" + std::string(1024, ' ') + "\r\n");
  chunked.send("0\r\n\r\n");
  EXPECT_EQ(testing::answer_of(chunked.receive_all()).status, 413);
  json request = testing::small_request();
  request["width"] = request["height"] = 8192;
  request["batch_size"] = 16;
  EXPECT_EQ(shared_server().post("/api/v1/jobs", {{"kind", "generate"}, {"request", request}}).status, 400);
}

TEST(Limits, ASlowClientIsLeftAndOneTooManyIsTold) {
  testing::Folders folders;
  ListenerLimits limits;
  limits.connections = 2;
  limits.patience_s = 0.5;
  limits.idle_s = 0.5;
  testing::Running server(folders.options(), limits);
  testing::Connection slow(server.port()), silent(server.port());
  slow.send("GET /health HTTP/1.1\r\nHost: local");  // and nothing more
  EXPECT_TRUE(testing::eventually([&] { return server.app().metrics.connections.load() == 2; }));
  EXPECT_EQ(server.get("/health").status, 503);
  EXPECT_EQ(silent.receive(), "");
  slow.receive_all();  // ends, whatever it says
  EXPECT_TRUE(testing::eventually([&] { return server.get("/health").status == 200; }));
}

TEST(Limits, AHeaderWithoutEndIsNotCollected) {
  testing::Connection connection(shared_server().port());
  connection.send("GET /health HTTP/1.1\r\nHost: localhost\r\n");
  bool open = true;
  for (int i = 0; i < 400 && open; ++i) open = connection.send("X-More: " + std::string(1000, 'a') + "\r\n");
  EXPECT_EQ(testing::answer_of(connection.receive_all()).status == 200, false);
  EXPECT_EQ(shared_server().get("/health").status, 200);
}

}  // namespace
}  // namespace lorikeet
