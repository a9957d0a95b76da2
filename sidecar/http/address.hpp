// Which addresses of the network are public.  Pure.
#pragma once

#include <boost/asio/ip/address.hpp>

#include <string_view>

struct sockaddr;

namespace sluice::sidecar {

/// False for everything that is not meant to be reached from everywhere: loopback, private, link-local, shared
/// (carrier-grade NAT), documentation, benchmarking, multicast, reserved; also where such an address is inside of
/// another: IPv4-mapped, NAT64, 6to4, Teredo.
bool is_public(const boost::asio::ip::address &address);

/// Of a socket; false for families other than IPv4 and IPv6.
bool is_public(const sockaddr &address);

/// Of a text; false when it is no address.
bool is_public(std::string_view address);

} // namespace sluice::sidecar
