// One client connection from accept to close: TLS handshake, heads, what is answered here (health),
// what goes to the control thread (admin, metrics), what is an exchange (/v1).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "net/control_port.hpp"
#include "net/http_head.hpp"
#include "net/task.hpp"
#include "proxy/client_connection.hpp"
#include "proxy/memory_budget.hpp"

namespace kw::proxy {

class worker;
enum class session_scope : std::uint8_t;

// Owned by its own coroutine; known to the worker for as long as it runs. The loop's thread only.
class session {
  public:
    session(worker& w, std::unique_ptr<net::stream> client, session_scope scope);
    session(const session&) = delete;
    session& operator=(const session&) = delete;
    ~session();

    // Serves until the connection ends. A root: see spawn().
    static net::task<void> run(worker& w, std::unique_ptr<net::stream> client, session_scope scope);

    // A graceful stop has begun: an idle connection ends now, a busy one after its exchange.
    void drain() noexcept { client_.wait.set(net::stopping); }
    // Ends now, whatever runs.
    void cut() noexcept;

  private:
    enum class head_result : std::uint8_t { ready, refused, closed };

    net::task<void> serve();
    net::task<bool> handshake();
    net::task<head_result> read_head();
    // Answers one request; true: the connection goes on.
    net::task<bool> answer();
    net::task<bool> answer_health();
    net::task<bool> answer_control();
    net::task<bool> answer_holder();
    net::task<bool> answer_lease_call();
    [[nodiscard]] net::control_request copy_request() const;
    void add_admin_credentials(net::control_request& q) const;
    net::task<std::optional<net::control_response>> ask_control(net::control_request q);
    net::task<bool> send_response(net::control_response response, bool keep);
    net::task<void> send_stream(net::control_response response);
    net::task<void> refuse_head();
    net::task<void> linger();
    void next_request();
    void find_client_address();

    worker& worker_;
    const session_scope scope_;
    client_connection client_;
    memory_share large_head_;  // counted with the kept bodies
    net::http_head head_;
};

}  // namespace kw::proxy
