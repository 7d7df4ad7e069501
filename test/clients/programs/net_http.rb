# Net::HTTP, with nothing said about a proxy.
require "digest"
require "net/http"
require "uri"

GOVERNED, BLIND, PLAIN, FILE = ARGV

# One line: what was done, the status, and the hash of the body that came back.
def call(what, request_class, url)
  uri = URI(url)
  request = request_class.new(uri)
  request["Content-Type"] = "application/octet-stream"
  yield request if block_given?
  response = Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https") { |http| http.request(request) }
  puts "#{what} #{response.code} #{Digest::SHA256.hexdigest(response.body)}"
end

call("get", Net::HTTP::Get, "#{GOVERNED}/bytes")
call("post", Net::HTTP::Post, "#{GOVERNED}/echo") { |request| request.body = File.binread(FILE) }
call("stream", Net::HTTP::Post, "#{GOVERNED}/echo") do |request|
  request["Transfer-Encoding"] = "chunked"
  request.body_stream = File.open(FILE, "rb")
end
call("plain", Net::HTTP::Get, "#{PLAIN}/bytes")
call("blind", Net::HTTP::Get, "#{BLIND}/bytes")
