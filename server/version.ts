/** The version of this server, as package.json has it (a test holds the two together): what is sent out must not look for files. */
export const VERSION = '0.1.0';
