// Who may come in: the credentials of the admin API, the delay of who guesses, and the memory of
// what was refused.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "admin/caller.hpp"
#include "admin/catalogue.hpp"
#include "auth/admin_guard.hpp"
#include "auth/throttle.hpp"
#include "core/clock.hpp"
#include "net/control_port.hpp"

namespace kw {
class incidents;
namespace metrics {
class registry;
}
}  // namespace kw

namespace kw::admin {

// Control thread. What is handed in outlives it.
class doorman {
  public:
    doorman(auth::admin_guard guard, catalogue& records, const secret& pepper,
            const clock_source& clock, metrics::registry& registry, incidents* noticed = nullptr);

    struct verdict {
        std::optional<caller> who;  // none: `refused`
        net::control_response refused;
        bool synced = false;  // the catalogue was brought level with the store
    };
    [[nodiscard]] verdict identify(const net::control_request& request);

    // Whether who came in may still be in, as far as the catalogue knows.
    [[nodiscard]] bool still_in(const caller& who) const;

    // What a caller by cookie must send with a change, and from where; none: all is well.
    [[nodiscard]] std::optional<net::control_response> refuse_forged(
        const net::control_request& request, const caller& who);
    // A page of another site; none: it is ours, or no page at all.
    [[nodiscard]] std::optional<net::control_response> refuse_foreign(
        const net::control_request& request);

    // Logins. A try counts as wrong until it turns out right.
    [[nodiscard]] std::chrono::milliseconds login_wait(const std::string& source,
                                                       const std::string& name);
    void begin_login(const std::string& source, const std::string& name);
    void undo_login(const std::string& source, const std::string& name);
    void end_login(const std::string& source, const std::string& name);

    // Counts a refusal. `presented` may be a secret: only what tells it from others is kept.
    void note_refusal(std::string_view reason, const std::string& source,
                      std::string_view presented = {});
    void note_login();
    void note_lost_entry();

    [[nodiscard]] bool enabled() const noexcept { return guard_.enabled(); }
    void set_guard(auth::admin_guard guard);
    [[nodiscard]] const auth::refusal_book& refusals() const noexcept { return refused_; }

    // Refused since this was last called, by source; empty: none.
    using summary = std::map<std::string, std::uint64_t>;
    [[nodiscard]] summary take_summary();

  private:
    [[nodiscard]] verdict refuse_guess(std::string_view reason, std::string_view code,
                                       std::string_view message, const std::string& source,
                                       std::string_view presented);
    [[nodiscard]] verdict by_text(const secret& text, const net::control_request& request,
                                  bool cookie);
    [[nodiscard]] std::optional<caller> find(const auth::admin_credential& c, const secret& text);

    auth::admin_guard guard_;
    catalogue& records_;
    const secret& pepper_;
    const clock_source& clock_;
    metrics::registry& registry_;
    incidents* noticed_;
    auth::throttle names_;
    auth::refusal_book refused_;
    summary summary_;
};

}  // namespace kw::admin
